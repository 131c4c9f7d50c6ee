# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""LightweightVAE: initialization from block PCA, spatial latents, both backends."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, mse_loss

from sage_perception.models import ModelError, load
from sage_perception.models.networks.lightweight import LightweightVAE, LightweightVAEConfig
from sage_perception.training.losses import images as losses
from sage_perception.training.tasks.vae import fit_pca, write_folder

pytestmark = pytest.mark.usefixtures('one_thread')

SMALL = LightweightVAEConfig(
    img_size=64, latent_channels=12, base_channels=8, decoder_channels=16, decoder_depth=1
)


def smooth_crops(count, seed, channels=3, side=64):
    """Return smooth random images with fine grain, float `[count, C, S, S]` in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 7, 7, generator=generator)
    fine = torch.rand(count, channels, side, side, generator=generator)
    smooth = interpolate(coarse, size=side, mode='bicubic', align_corners=True)
    return (0.95 * smooth + 0.05 * fine).clamp(0, 1)


def gradients(count, seed):
    """Return images without edges, float `[count, 3, 64, 64]`."""
    coarse = torch.rand(count, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return interpolate(coarse, size=64, mode='bilinear', align_corners=True)


def block_pca(crops, x, dims):
    """Return `x` projected onto `dims` components of the blocks of `crops`, by a full SVD."""

    def blocks(y):
        n, c, s, _ = y.shape
        cut = y.reshape(n, c, s // 32, 32, s // 32, 32)
        return np.moveaxis(cut, (2, 4), (1, 2)).reshape(-1, c * 32 * 32)

    known = blocks(crops.double().numpy())
    mean = known.mean(0)
    rows = np.linalg.svd(known - mean, full_matrices=False)[2][:dims]
    kept = (blocks(x.double().numpy()) - mean) @ rows.T @ rows + mean
    n, c, s, _ = x.shape
    kept = kept.reshape(n, s // 32, s // 32, c, 32, 32)
    return torch.from_numpy(np.moveaxis(kept, (1, 2), (2, 4)).reshape(n, c, s, s)).float()


@pytest.fixture
def x():
    return smooth_crops(5, seed=0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = LightweightVAE(SMALL).eval()
    model.init_from_crops(smooth_crops(60, seed=1))
    return model


@pytest.mark.parametrize(('channels', 'size', 'side'), [(3, 64, 2), (1, 96, 3), (3, 224, 7)])
def test_shapes(channels, size, side):
    config = LightweightVAEConfig(channels, size, 12, 8, 16, 1)
    model = LightweightVAE(config)
    x = smooth_crops(2, 0, channels, size)
    reconstruction, mean, log_var = model(x)
    assert reconstruction.shape == x.shape
    assert mean.shape == log_var.shape == (2, 12, side, side)
    assert config.latent_size == side
    assert model.reconstruct(x).shape == x.shape
    assert model.reconstruction_loss(x).shape == (2,)


def test_default_configuration_matches_the_specification():
    model = LightweightVAE()
    assert 2e6 <= sum(p.numel() for p in model.parameters()) <= 10e6
    mean = model.get_latents(torch.rand(1, 3, 224, 224))
    assert mean.shape == (1, 256, 7, 7)


def test_initialization_equals_block_pca(model, x):
    crops = smooth_crops(60, seed=1)
    expected = block_pca(crops, x, SMALL.latent_channels)
    torch.testing.assert_close(model(x)[0], expected, atol=0.02, rtol=0)
    assert losses.psnr(model.reconstruct(x), expected.clamp(0, 1)).min() > 45
    variance = model.get_latents(crops).var((0, 2, 3))
    assert variance.mean().item() == pytest.approx(1, rel=0.02)
    assert variance.tolist() == sorted(variance.tolist(), reverse=True)


def test_initialization_is_deterministic(model):
    again = LightweightVAE(SMALL)
    torch.rand(7)
    again.init_from_crops(smooth_crops(60, seed=1))
    assert torch.equal(model.encoder.linear.weight, again.encoder.linear.weight)


def test_rejects_too_few_crops_for_initialization():
    with pytest.raises(ValueError, match='2 crops have 8 blocks, 12 components need more'):
        LightweightVAE(SMALL).init_from_crops(smooth_crops(2, seed=1))


def test_position_of_the_latent_depends_on_its_block(model, x):
    other = x.clone()
    other[:, :, :32, 32:] = 1 - other[:, :, :32, 32:]
    moved = (model.get_latents(other) - model.get_latents(x)).norm(dim=1).mean(0)
    assert moved[0, 1] > 1
    assert moved.sum() - moved[0, 1] < 0.05 * moved[0, 1]


def test_training_improves_on_pca():
    """Few components leave steps at block borders, which convolutions smooth."""
    crops, held_out = gradients(64, seed=1), gradients(16, seed=2)
    torch.manual_seed(0)
    model = LightweightVAE(replace(SMALL, latent_channels=6))
    model.init_from_crops(crops)
    start = mse_loss(block_pca(crops, held_out, 6), held_out)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(40):
        x = crops[step % 8 :: 8]
        optimizer.zero_grad()
        mse_loss(model(x)[0], x).backward()
        optimizer.step()
    with torch.no_grad():
        assert mse_loss(model.eval()(held_out)[0], held_out) < 0.9 * start


def test_decoders_of_other_sizes_share_the_latent_space(model):
    larger = LightweightVAE(replace(SMALL, decoder_channels=32, decoder_depth=2))
    larger.encoder.load_state_dict(model.encoder.state_dict())
    assert larger.decode(model.get_latents(smooth_crops(1, 3))).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('img_size', 100),
        ('img_size', 0),
        ('input_channels', 2),
        ('latent_channels', 0),
        ('latent_channels', 3073),
        ('decoder_channels', 31),
        ('decoder_depth', 0),
    ],
)
def test_rejects_an_invalid_configuration(field, value):
    with pytest.raises(ValueError, match=field):
        LightweightVAEConfig(**{field: value})


def test_backends_agree_on_an_exported_model(model, x, tmp_path):
    run = SimpleNamespace(name='small', version='1', family='lightweight', encoder='')
    write_folder(tmp_path, run, model, x.numpy(), fit_pca(model, x.numpy()))
    torch_codec = load(tmp_path, backend='torch')
    onnx_codec = load(tmp_path, backend='onnxruntime')
    assert onnx_codec.latent_shape == (12, 2, 2)
    assert onnx_codec.latent_dim == 48
    assert onnx_codec.parameters == sum(p.numel() for p in model.parameters())
    pair = [codec.encode_stats(x.numpy()) for codec in (torch_codec, onnx_codec)]
    for ours, theirs in zip(*pair, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    z = pair[0][0]
    np.testing.assert_allclose(torch_codec.decode(z), onnx_codec.decode(z), atol=1e-4)
    np.testing.assert_allclose(
        onnx_codec.decode(z), model.reconstruct(x).detach().numpy(), atol=1e-4
    )
    between = onnx_codec.interpolate(z[0], z[1], 3)
    np.testing.assert_allclose(between[[0, 2]], onnx_codec.decode(z[:2]), atol=1e-4)
    for codec in (torch_codec, onnx_codec):
        with pytest.raises(ModelError, match='12, 2, 2'):
            codec.decode(z.reshape(len(z), -1))


def test_half_precision_is_close_to_single(model, x):
    full = model.get_latents(x)
    half = model.half().get_latents(x.half()).float()
    assert torch.cosine_similarity(half.flatten(1), full.flatten(1)).min() > 0.999


def test_backends_agree_on_the_shipped_model():
    codecs = [load('lightweight', backend=backend) for backend in ('onnxruntime', 'torch')]
    assert codecs[0].latent_shape == (256, 7, 7)
    y, x = np.mgrid[:224, :224] / 224
    edge = (0.1 + 0.8 / (1 + np.exp(-200 * (x + 0.4 * y - 0.7)))).astype(np.float32)
    images = np.repeat(edge[None, None], 3, 1)
    shown = [codec.reconstruct(images) for codec in codecs]
    np.testing.assert_allclose(*shown, atol=1e-3)
    assert np.square(shown[0] - images).mean() < 1e-4  # 40 dB
