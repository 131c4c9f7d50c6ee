# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of salience: `sage_msgs/Snarc` and `sage_msgs/SnarcScore`."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from sage_msgs.msg import Snarc as SnarcMessage
from sage_msgs.msg import SnarcScore

from sage_perception.memory import Observed, Snarc


def snarc_to_msg(snarc: Snarc) -> SnarcMessage:
    """Return the parts of a salience as a message."""
    return SnarcMessage(**{part.name: getattr(snarc, part.name) for part in fields(Snarc)})


def snarc_from_msg(message: SnarcMessage) -> Snarc:
    """Return the parts of a salience."""
    return Snarc(*(getattr(message, part.name) for part in fields(Snarc)))


def snarc_score_to_msg(observed: Observed) -> SnarcScore:
    """Return the salience of one observation as a message."""
    return SnarcScore(
        lct=np.frombuffer(observed.lct.id, np.uint8),
        track_id=observed.lct.latent.track_id,
        snarc=snarc_to_msg(observed.snarc),
        salience=observed.snarc.salience,
        stored=observed.stored,
    )
