# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The layout of an action: 19 values for the joints of a robot with a head and two arms.

A value is a position between the limits of its joint: −1 is the lower, 1 the upper one. The
log-variance of a latent has which values are commands; the others are 0.
"""

from __future__ import annotations

import hashlib

import numpy as np

from sage_perception.core.latent import ModelId

ACTION_DIM = 19
HEAD, LEFT_ARM = slice(0, 2), slice(3, 10)
NAMES = (
    'head_pan', 'head_tilt', 'torso',
    *(f'left_arm_{i}' for i in range(1, 8)),
    *(f'right_arm_{i}' for i in range(1, 8)),
    'left_gripper', 'right_gripper',
)  # fmt: skip
"""The place of each value; parameters map them to the joints of a robot."""
ACTION = ModelId(
    'action', '1', hashlib.sha256(b'sage.Action' + '\n'.join(NAMES).encode()).digest()
)
"""The space of actions: all latents of kind ACTION have this layout."""
LOG_VAR_UNUSED = 0.0
"""Log-variance of a value without a command; those of commands are below −2."""
LOG_VAR_USED = -8.0


def used(log_var: np.ndarray) -> np.ndarray:
    """Return which values of an action are commands, bool `[19]`, from its log-variance."""
    return np.asarray(log_var) < (LOG_VAR_USED + LOG_VAR_UNUSED) / 4
