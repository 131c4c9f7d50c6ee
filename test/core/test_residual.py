# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reconstruction residuals as images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.irp.residual import from_residual, to_residual


@given(st.integers(0, 2**32 - 1))
def test_a_residual_restores_the_crop(seed):
    rng = np.random.default_rng(seed)
    crops, decoded = rng.random((2, 3, 3, 8, 8), dtype=np.float32)
    restored = from_residual(to_residual(crops, decoded), decoded)
    assert np.abs(restored - crops).max() <= 1 / 254 + 1e-6
