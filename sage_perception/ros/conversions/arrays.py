# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between numpy arrays and the array types of message fields."""

from __future__ import annotations

from array import array

import numpy as np


def floats_to_msg(values: np.ndarray) -> array[float]:
    """Return the elements of an array, in C order, as the value of a float32 field."""
    return array('f', np.ascontiguousarray(values, np.float32).tobytes())
