# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""TinyVAE: parameter budget, shapes and initialization from PCA."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, interpolate

from sage_perception.models.networks.layers import Upsample
from sage_perception.models.networks.tinyvae import Thumbnail, TinyVAE, TinyVAEConfig

CONFIGS = [
    TinyVAEConfig(),
    TinyVAEConfig(input_channels=1, latent_dim=16),
    TinyVAEConfig(latent_dim=128),
    TinyVAEConfig(img_size=128),
    TinyVAEConfig(img_size=32, separable=1),
    TinyVAEConfig(img_size=32, encoder_width=96, decoder_width=96),
]


@pytest.fixture
def x():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TinyVAE().eval()


@pytest.mark.parametrize('config', CONFIGS)
def test_shapes(config):
    model = TinyVAE(config)
    x = torch.rand(2, config.input_channels, config.img_size, config.img_size)
    reconstruction, mean, log_var = model(x)
    assert reconstruction.shape == x.shape
    assert mean.shape == log_var.shape == (2, config.latent_dim)
    assert model.reconstruction_loss(x).shape == (2,)


@pytest.mark.parametrize(('channels', 'dims'), [(3, 64), (3, 16), (1, 64), (1, 16)])
def test_stays_within_the_parameter_budget(channels, dims):
    model = TinyVAE(TinyVAEConfig(input_channels=channels, latent_dim=dims))
    assert sum(p.numel() for p in model.parameters()) <= 300_000


def test_separable_variant_has_no_dense_convolutions_inside():
    model = TinyVAE(TinyVAEConfig(separable=1))
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    dense = [c for c in convolutions if c.groups == 1 and c.kernel_size != (1, 1)]
    assert len(convolutions) > 10
    assert {c.in_channels for c in dense} <= {3, 16}, 'only the first and the last one'


@pytest.mark.parametrize('side', [16, 48, 100, 256])
def test_encoder_accepts_other_sizes(model, side):
    assert model.get_latents(torch.rand(2, 3, side, side)).shape == (2, 64)


def test_initialization_is_exact_for_smooth_images(model):
    """Images that are smooth and of few degrees of freedom are reconstructed."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.rand(41, 3, 4, 4, generator=generator)
    basis = interpolate(basis, scale_factor=16, mode='bilinear')
    weights = torch.rand(200, 41, generator=generator).softmax(1)
    crops = torch.einsum('bn,nchw->bchw', weights, basis)
    model.init_from_crops(crops)
    codes = model.get_latents(crops).detach()
    assert float(codes.var(0).mean()) == pytest.approx(1, abs=0.05)
    thumbnail = model.encoder.thumbnail
    thumbnails = thumbnail(crops)
    torch.testing.assert_close(thumbnail(model.decoder(codes)), thumbnails, atol=0.05, rtol=0)
    distances, expected = (torch.pdist(values) for values in (codes, thumbnails))
    ratio = distances / expected
    assert ratio.std() < 0.05 * ratio.mean()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_thumbnails_keep_distances_between_images_of_smooth_color(seed):
    generator = torch.Generator().manual_seed(seed)
    thumbnail = Thumbnail(3)
    lightness = torch.rand(2, 1, 16, 16, generator=generator)
    color = interpolate(torch.rand(2, 2, 8, 8, generator=generator), scale_factor=2)
    x = thumbnail.opponent.invert(lightness, color)
    distance = (x[0] - x[1]).norm()
    torch.testing.assert_close((thumbnail(x)[0] - thumbnail(x)[1]).norm(), distance)


@pytest.mark.parametrize('factor', [2, 4, 8])
def test_upsampling_is_initialized_as_bicubic(x, factor):
    small = adaptive_avg_pool2d(x, 8)
    expected = interpolate(small, scale_factor=factor, mode='bicubic')
    torch.testing.assert_close(Upsample(3, factor)(small), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('latent_dim', 0),
        ('img_size', 65),
        ('img_size', 0),
        ('encoder_width', 10),
        ('input_channels', 2),
    ],
)
def test_rejects_an_invalid_configuration(field, value):
    with pytest.raises(ValueError, match=field):
        TinyVAEConfig(**{field: value})


def test_half_precision_is_close_to_single(model, x):
    half = TinyVAE().eval()
    half.load_state_dict(model.state_dict())
    z = half.half().get_latents(x.half()).float()
    assert cosine_similarity(z, model.get_latents(x)).min() > 0.999
