# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.metrics import batch_psnr, kl_per_dim, psnr, psnr_from_mse, ssim
from sage_perception.models.networks.divergence import kl_divergence
from sage_perception.training.losses import images as losses


def image_pair(seed, height, width, channels):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (height, width, channels), np.uint8)
    return a, (a.astype(int) + rng.integers(-40, 40, a.shape)).clip(0, 255).astype(np.uint8)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(11, 40), st.integers(11, 40), st.sampled_from([1, 3]))
def test_image_metrics_equal_those_of_training(seed, height, width, channels):
    a, b = image_pair(seed, height, width, channels)
    tensors = [torch.from_numpy(p.transpose(2, 0, 1)[None] / 255.0) for p in (a, b)]
    assert ssim(a, b) == pytest.approx(float(losses.ssim(*tensors)), abs=1e-5)
    assert psnr(a, b) == pytest.approx(float(losses.psnr(*tensors)), abs=1e-3)


def test_identical_images_have_the_largest_values():
    a, _ = image_pair(0, 16, 16, 3)
    assert ssim(a, a) == pytest.approx(1)
    assert psnr(a, a) == 100


def test_psnr_of_a_known_error():
    assert psnr_from_mse(np.array([1.0, 0.01, 0.0])) == pytest.approx([0, 20, 100])
    assert psnr(np.zeros((4, 5), np.uint8), np.full((4, 5), 255, np.uint8)) == 0
    assert psnr(np.zeros((4, 5), np.float32), np.full((4, 5), 0.1, np.float32)) == (
        pytest.approx(20, abs=1e-5)
    )


def test_batch_psnr_is_that_of_each_image():
    x = np.random.default_rng(0).random((2, 3, 8, 8))
    y = np.random.default_rng(1).random((2, 3, 8, 8))
    assert batch_psnr(x, y) == pytest.approx([psnr(a, b) for a, b in zip(x, y, strict=True)])


def test_kl_per_dim_is_the_mean_of_the_torch_divergence():
    rng = np.random.default_rng(0)
    mean, log_var = rng.normal(size=(2, 4, 8))
    each = kl_divergence(torch.from_numpy(mean), torch.from_numpy(log_var)).numpy()
    assert kl_per_dim(mean, log_var) == pytest.approx(each.mean(1))
    assert kl_per_dim(np.zeros(3), np.zeros(3)) == 0
