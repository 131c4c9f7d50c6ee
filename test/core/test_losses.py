# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors and similarities of images, and the KL divergence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from sage_perception.models.networks.divergence import kl_divergence
from sage_perception.training.losses import images as losses


@pytest.fixture
def x():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


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


def test_ssim_agrees_with_torchmetrics(x):
    image = pytest.importorskip('torchmetrics.functional.image')
    y = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    _, everywhere = image.structural_similarity_index_measure(
        y, x, data_range=1.0, sigma=1.5, return_full_image=True
    )
    theirs = everywhere[..., 5:-5, 5:-5].mean((1, 2, 3))  # where the window fits
    torch.testing.assert_close(losses.ssim(y, x), theirs, atol=1e-5, rtol=0)


def test_similarity_is_one_for_equal_images_and_decreases_with_noise(x):
    smooth = interpolate(adaptive_avg_pool2d(x, 8), size=64, mode='bicubic')
    for measure in (losses.ssim, losses.ms_ssim, losses.psnr):
        scores = [
            measure(smooth + level * (x - 0.5), smooth).mean() for level in (0, 0.01, 0.1, 0.5)
        ]
        assert scores == sorted(scores, reverse=True)
    assert losses.ssim(x, x).min() == pytest.approx(1)
    assert losses.ms_ssim(x, x).min() == pytest.approx(1)


def test_psnr_of_a_known_error():
    a = torch.zeros(1, 3, 64, 64)
    assert losses.psnr(a, a + 0.1).item() == pytest.approx(20, abs=1e-4)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-8, 3)), min_size=1, max_size=8),
)
def test_kl_divergence_matches_torch_distributions(pairs):
    mean, log_var = torch.tensor(np.array(pairs)).T
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_var).exp()),
        torch.distributions.Normal(torch.zeros_like(mean), 1.0),
    )
    torch.testing.assert_close(kl_divergence(mean, log_var), expected)
