# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of latents: they decode better, within a budget, and adapt to the scene."""

from dataclasses import replace

import numpy as np
import pytest

from sage_perception.core.latent import HaltReason
from sage_perception.irp.adaptive import AdaptiveVAE
from sage_perception.irp.frame import FrameRefiner
from sage_perception.irp.tinyvae import Crops, TinyVAEIRP
from sage_perception.models import ModelError
from sage_perception.models.artifact import LATENT_MEAN
from sage_perception.models.energy import ReconstructionEnergy
from sage_perception.vision.synthetic import SyntheticWorld


@pytest.fixture(scope='module')
def crops():
    """Give 6 crops, float32 `[6, 3, 64, 64]`."""
    frames = [SyntheticWorld(seed=i).render(1.0)[..., ::-1] for i in range(3)]
    cuts = [frame[y : y + 64, x : x + 64] for frame in frames for x, y in ((40, 60), (200, 120))]
    return np.stack(cuts).transpose(0, 3, 1, 2).astype(np.float32) / 255


@pytest.fixture(scope='module')
def plugin():
    return TinyVAEIRP()


@pytest.fixture(scope='module')
def refined(plugin, crops):
    """Give the refined latents of the crops and their telemetry."""
    return plugin.refine(crops)


def errors(codec, z, x):
    """Return the reconstruction errors of latents, `[B]`."""
    return np.square(codec.decode(np.stack(z)) - x).mean(axis=(1, 2, 3))


def test_refined_latents_decode_better(plugin, crops, refined):
    codec = plugin.codec
    before, after = errors(codec, codec.encode(crops), crops), errors(codec, refined[0], crops)
    assert (after < before).all()
    assert np.mean(10 * np.log10(before / after)) > 0.2


def test_telemetry_describes_the_refined_latents(plugin, crops, refined):
    z, telemetry = refined
    for each, error in zip(telemetry, errors(plugin.codec, z, crops), strict=True):
        assert each.reconstruction_error == pytest.approx(error, rel=1e-3)
        assert each.reconstruction_error == min(each.energy_trajectory)
        assert each.iterations == len(each.energy_trajectory) > 2
        assert each.halt_reason == HaltReason.CONVERGED
        assert 0 < each.trust < 1
        assert each.kl_per_dim > 0


def test_refined_latents_stay_within_the_usual_range(plugin, crops, refined):
    codec = plugin.codec
    refined_deviation = np.abs(np.stack(refined[0]) - codec.latent_mean)
    guess_deviation = np.abs(codec.encode(crops) - codec.latent_mean)
    limit = np.maximum(6 * codec.latent_std, guess_deviation)
    assert (refined_deviation <= 1.001 * limit).all()


def test_the_batch_does_not_change_the_result(plugin, crops, refined):
    alone = np.stack([plugin.refine(crop[None])[0][0] for crop in crops])
    assert np.allclose(refined[0], alone, atol=0.02)


def test_the_gradient_is_that_of_the_energy(plugin, crops):
    energy_of = plugin.reconstruction_energy
    z = plugin.codec.encode(crops)
    energy, gradient = energy_of(z, crops)
    assert energy == pytest.approx(errors(plugin.codec, z, crops), rel=1e-3)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=z.shape).astype(np.float32) * plugin.codec.latent_std
    width = 1e-2
    above, below = energy_of(z + width * direction, crops), energy_of(z - width * direction, crops)
    slope = (above[0] - below[0]) / 2
    assert slope == pytest.approx((gradient * direction).sum(1) * width, rel=0.1, abs=1e-6)


def test_the_metric_is_positive_definite(plugin):
    assert np.linalg.eigvalsh(plugin.reconstruction_energy.metric).min() > 0


def test_a_step_that_raises_the_energy_is_undone(plugin, crops):
    state = plugin.init_state(crops)
    state.step_size[:] = 100
    after = plugin.step(state, np.ones(len(crops), bool))
    assert (after.energy > state.energy).all()
    assert np.array_equal(after.best_z, state.best_z)
    assert np.all(after.step_size == 50)


def test_rejects_a_decoder_of_another_latent_space():
    with pytest.raises(ModelError, match='does not decode the latents of'):
        TinyVAEIRP(decoder='tinyvae_128')


def test_rejects_a_model_with_spatial_latents(plugin):
    artifact = plugin.codec.artifact
    spatial = artifact.tensors | {LATENT_MEAN: np.zeros((4, 7, 7), np.float32)}
    with pytest.raises(ModelError, match=r'latents \[D\]'):
        ReconstructionEnergy(replace(artifact, tensors=spatial))


@pytest.fixture
def adaptive():
    return AdaptiveVAE(quality=1.0)


def refine_tracks(adaptive, images, tracks=range(1, 7)):
    return adaptive.refine(Crops(images, list(tracks), adaptive.codec.encode(images)))


def mean_iterations(telemetry):
    return np.mean([each.iterations for each in telemetry])


def test_a_static_scene_costs_one_iteration(adaptive, crops):
    rng = np.random.default_rng(0)
    first, telemetry = refine_tracks(adaptive, crops)
    assert min(each.iterations for each in telemetry) > 3
    noisy = (crops + rng.normal(0, 2 / 255, crops.shape)).clip(0, 1).astype(np.float32)
    again, telemetry = refine_tracks(adaptive, noisy)
    assert [each.iterations for each in telemetry] == [1] * 6
    assert all(each.converged for each in telemetry)
    assert errors(adaptive.codec, again, crops) == pytest.approx(
        errors(adaptive.codec, first, crops), rel=0.02
    )


def test_a_slow_change_of_the_scene_is_refined(adaptive, crops):
    refine_tracks(adaptive, crops)
    mix = np.linspace(0, 1, 10, dtype=np.float32)
    iterations = [
        refine_tracks(adaptive, (1 - a) * crops + a * crops[::-1])[1][0].iterations for a in mix
    ]
    assert max(iterations) > 1


def test_a_changed_scene_is_refined(adaptive, crops):
    refine_tracks(adaptive, np.ascontiguousarray(crops[::-1]))
    _, telemetry = refine_tracks(adaptive, crops)
    assert mean_iterations(telemetry) > 3


def test_crops_without_a_track_are_refined_each_time(adaptive, crops):
    for _ in range(2):
        _, telemetry = refine_tracks(adaptive, crops, tracks=[0] * 6)
        assert min(each.iterations for each in telemetry) > 3


def test_a_crop_converges_at_the_requested_quality(adaptive, crops):
    adaptive.quality = 0.5
    _, telemetry = adaptive.refine(Crops(crops))
    variances = crops.var(axis=(1, 2, 3))
    for each, variance in zip(telemetry, variances, strict=True):
        assert each.converged
        assert (each.iterations == 1) == (each.energy_trajectory[0] <= 0.5 * variance)


def test_the_track_refined_least_recently_is_dropped_after_256(adaptive, crops):
    crop = crops[:1]
    guess = adaptive.codec.encode(crop)
    state = adaptive.init_state(Crops(crop, [1], guess))
    for track in range(1, 258):
        state.crops = Crops(crop, [track], guess)
        adaptive.remember(state, state.z, [HaltReason.CONVERGED])
    # A known static track has an infinite goal.
    known = [
        np.isinf(adaptive.goal(replace(state, crops=Crops(crop, [track], guess))))[0]
        for track in (1, 2, 257)
    ]
    assert known == [False, True, True]


def test_a_frame_without_budget_keeps_the_guess(crops):
    refiner = FrameRefiner('tinyvae', 'cpu', 0.01)
    guess = np.arange(6 * 64, dtype=np.float32).reshape(6, 64)
    result = refiner.refine(crops, guess, [0] * 6, [1.0] * 6, np.full(6, np.nan))
    assert np.array_equal(np.stack(result.outputs), guess)
    assert len(result.telemetry) == 6
    assert sum(share.granted for share in result.shares) == refiner.budget == 1
