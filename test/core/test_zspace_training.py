# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trained parts of Z-space: torch and numpy agree, and training improves them."""

import numpy as np
import pytest
import torch

from sage_perception import zspace
from sage_perception.models.networks import zspace as networks
from sage_perception.training.zspace.fit import fit
from sage_perception.zspace import ViewDescriptor


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_cells_agree():
    torch.manual_seed(0)
    cell, inputs = networks.SpiralRnn(3, 5), torch.randn(2, 4, 3, generator=generator())
    numpy_cell = zspace.SpiralRnn.from_state_dict(
        {k: v.detach().numpy() for k, v in cell.state_dict().items()}
    )
    expected = cell(inputs).detach().numpy()
    np.testing.assert_allclose(numpy_cell.states(inputs.numpy()), expected, atol=2e-6)


def profiles(seed, count=48, steps=24):
    """Return oscillating profiles of two slices, `[N, T, 6]`, which persistence misses."""
    start = 6.28 * torch.rand(count, 1, 1, generator=generator(seed))
    phase = torch.arange(6).float() * 0.7
    return 2 + torch.sin(start + 0.6 * torch.arange(steps)[:, None] + phase)


def test_a_trained_generator_beats_persistence_and_runs_in_numpy():
    torch.manual_seed(0)
    network = networks.ProfileNetwork(torch.full((6,), 2.0), torch.full((6,), 0.7))
    held_out = profiles(1)
    before = network.loss(held_out).item()
    persistence = ((held_out[:, 1:] - held_out[:, :-1]) / 0.7).square().mean().item()
    assert before == pytest.approx(persistence, rel=1e-5)
    fit(network, profiles(0), steps=120)
    assert network.loss(held_out).item() < 0.2 * persistence
    predictor = zspace.ProfilePredictor(network.arrays())
    sequence = held_out[0].numpy()
    ahead = [
        np.concatenate(predictor.predict(zspace.SliceProfile(*p.reshape(3, 2)))) for p in sequence
    ]
    expected = network((held_out[:1] - 2) / 0.7)[0].detach().numpy() * 0.7 + 2
    np.testing.assert_allclose(ahead, expected, atol=1e-5)


def test_trained_super_resolution_beats_cubic_and_runs_in_numpy():
    torch.manual_seed(0)
    base = torch.rand(64, 1, 12, 12, generator=generator())
    # The middle is the larger of its neighbors, which no linear interpolation gives.
    slices = torch.cat([base, base.flip(2), base.flip(3), base], dim=1)
    samples = torch.cat([slices, slices[:, 1:3].max(dim=1, keepdim=True).values], dim=1)
    network = networks.SliceNetwork()
    before = network.loss(samples[48:]).item()
    fit(network, samples[:48], steps=150, learning_rate=1e-2)
    assert network.loss(samples[48:]).item() < 0.6 * before
    volume = zspace.ZSpaceVolume(2 * slices[0].numpy())
    middle = zspace.ZSuperResolution(network.arrays()).interpolate(volume).values[3]
    scale = abs(volume.values).max()
    expected = network(torch.from_numpy(volume.values[None] / scale))[0, 0].detach().numpy()
    np.testing.assert_allclose(middle, scale * expected, atol=1e-4)


def test_trained_decoder_beats_the_random_one():
    latents = torch.randn(200, 4, generator=generator())
    values = (latents @ torch.randn(4, 12, generator=generator(1)) / 3).tanh()
    network = networks.VolumeDecoder(4, 12)
    fit(network, torch.cat([latents, values], dim=1)[:160], steps=300, learning_rate=3e-2)
    trained = zspace.ZDecoder.from_state_dict(network.arrays(), (3, 2, 2))
    untrained = zspace.ZDecoder(3, 2, 2, 0)

    def error(decoder):
        decoded = np.stack([decoder.decode(z).values.ravel() for z in latents[160:].numpy()])
        return np.square(decoded - values[160:].numpy()).mean()

    assert error(trained) < 0.1 * error(untrained)


def test_gamma_agrees_with_the_fusion_and_learns_to_prefer_the_facing_camera():
    forwards, focus = np.array([[0, 0, 1], [1, 0, 1], [1, 0, -0.2]], float), (0.2, 0, 1)
    views = [ViewDescriptor(str(i), (0, 0, 0), f, 1 + i) for i, f in enumerate(forwards)]
    fusion = zspace.MultiViewFusion(views).with_focus_direction(focus).with_alignment_gamma(2)
    unit = forwards / np.linalg.norm(forwards, axis=1, keepdims=True)
    alignments = torch.tensor(unit @ (np.array(focus) / np.linalg.norm(focus)))
    network = networks.AlignmentGamma(2.0)
    weights = network(alignments, torch.tensor([1.0, 2, 3])).detach().numpy()
    np.testing.assert_allclose(weights, fusion.view_bias_profile(), atol=1e-5)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(40):
        optimizer.zero_grad()
        (-network(alignments, torch.ones(3))[0]).backward()
        optimizer.step()
    assert 2.5 < network.gamma.item() <= 8


def test_losses_agree_with_numpy():
    values = torch.rand(3, 2, 4, 5, generator=generator())
    volumes = [zspace.ZSpaceVolume(each.numpy()) for each in values]
    np.testing.assert_allclose(
        networks.slice_agreement_loss(values),
        [zspace.slice_agreement_loss(each) for each in volumes],
        atol=1e-5,
    )
    assert networks.temporal_smoothness_loss(values).item() == pytest.approx(
        zspace.temporal_smoothness_loss(volumes), rel=1e-5
    )


@pytest.mark.parametrize('shape', [(3, 4, 5), (1, 1, 4), (1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize('across_slices', [True, False])
def test_diffusion_consistency_agrees_with_numpy_and_has_gradients(shape, across_slices):
    values = torch.rand(2, *shape, generator=generator()).requires_grad_()
    diffuser = zspace.ZDiffuser(3, 0.6, across_slices)
    found = networks.diffusion_consistency_loss(values, diffuser)
    expected = [
        zspace.diffusion_consistency_loss(zspace.ZSpaceVolume(each), diffuser)
        for each in values.detach().numpy()
    ]
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
    found.sum().backward()
    assert values.grad.isfinite().all()


def test_a_loss_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match='the loss is nan at step 0'):
        fit(networks.VolumeDecoder(1, 1), torch.full((2, 2), torch.nan), steps=1)
