# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Codes that compare by their cosine, as bytes: one signed byte per dimension, no statistics.

A code has length 1, so only its direction is transmitted: the values relative to the largest
magnitude, in steps of 1/127. The cosine of a 64-D code and its decoded form is above 0.999.
"""

from __future__ import annotations

import numpy as np

MAX_DIM = 1024
LEVELS = 127


def pack_direction(code: np.ndarray) -> bytes:
    """Return the direction of a code, float `[D]`, as D bytes.

    Raises `ValueError` for a code that is empty, not finite, or zero.
    """
    values = np.asarray(code, np.float64)
    largest = np.abs(values).max(initial=0.0)
    if values.ndim != 1 or not 0 < values.size <= MAX_DIM or not 0 < largest < np.inf:
        raise ValueError(
            f'a code must be a finite [D] other than 0 with D up to {MAX_DIM}, '
            f'not {list(values.shape)}'
        )
    return np.rint(values / largest * LEVELS).astype(np.int8).tobytes()


def unpack_directions(payloads: bytes, dim: int) -> np.ndarray:
    """Return the codes of the joined bytes of several, float32 `[N, dim]` of length 1.

    A code whose bytes are all 0 is not a direction and stays 0.
    """
    values = np.frombuffer(payloads, np.int8).reshape(-1, dim).astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, np.float32(1))


def unpack_direction(payload: bytes) -> np.ndarray:
    """Return the code of bytes, float32 `[D]` of length 1.

    Raises `ValueError` for bytes that are not those of `pack_direction`.
    """
    if not 0 < len(payload) <= MAX_DIM or not any(payload):
        raise ValueError(f'{len(payload)} bytes are not the direction of a code')
    return unpack_directions(payload, len(payload))[0]
