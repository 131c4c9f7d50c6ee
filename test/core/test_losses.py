# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The logarithmic error of images."""

import numpy as np
import pytest
import torch

from sage_perception.training.losses import images as losses


def error_of(mse, negligible):
    """Return the logarithmic error of an image with the mean squared error `mse`."""
    x = torch.zeros((1, 3, 8, 8), dtype=torch.float64)
    return float(losses.log_error(x + mse**0.5, x, negligible))


@pytest.mark.parametrize('mse', [1e-4, 1e-3, 1e-2])
def test_log_error_is_squared_error_for_a_large_negligible_error(mse):
    assert error_of(mse, 1.0) == pytest.approx(mse, rel=0.01)


@pytest.mark.parametrize('mse', [1e-4, 1e-3, 1e-2])
def test_log_error_grows_by_equal_steps_per_decibel_for_a_small_negligible_error(mse):
    step = error_of(2 * mse, 1e-7) - error_of(mse, 1e-7)
    assert step == pytest.approx(losses.TYPICAL_ERROR * np.log(2), rel=0.01)


@pytest.mark.parametrize('negligible', [1.0, 1e-2, 1e-4])
def test_log_error_has_the_slope_of_squared_error_at_the_typical_error(negligible):
    typical = losses.TYPICAL_ERROR
    slope = (error_of(1.001 * typical, negligible) - error_of(typical, negligible)) / typical
    assert slope == pytest.approx(0.001, rel=0.01)
