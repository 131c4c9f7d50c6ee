# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement: when it stops, what it keeps, and latents that decode better for it."""

import importlib.metadata
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason
from sage_perception.irp import IRPPlugin, Refinement, available, discovery, load
from sage_perception.irp.adaptive import AdaptiveVAE
from sage_perception.irp.delta import from_delta, to_delta
from sage_perception.irp.frame import FrameRefiner
from sage_perception.irp.halting import Halting
from sage_perception.irp.tinyvae import Crops, TinyVAEIRP
from sage_perception.models import ModelError
from sage_perception.models.artifact import LATENT_MEAN
from sage_perception.models.energy import ReconstructionEnergy
from sage_perception.vision.synthetic import SyntheticWorld

halt = Halting()
energies = st.lists(st.floats(0, 1e3) | st.sampled_from([math.nan, math.inf, 0.0]), min_size=1)


def verdict(sequence):
    """Return when a sequence of energies is halted, and why."""
    for count in range(1, len(sequence) + 1):
        if reason := halt(sequence[:count]):
            return count, reason
    return None


# Halting


@given(energies, st.integers(-40, 40))
def test_the_unit_of_the_energies_does_not_matter(sequence, power):
    scaled = [math.ldexp(energy, power) for energy in sequence]
    assert halt(scaled) == halt(sequence)


@given(st.floats(1e-6, 1e6), st.floats(0.01, 0.9))
def test_what_still_falls_goes_on_and_what_no_longer_does_has_converged(scale, factor):
    falling = [scale * (1 + factor**i) for i in range(200)]
    count, reason = verdict(falling)
    assert reason == HaltReason.CONVERGED
    # It had less than a hundredth left to fall, whatever the scale and the speed.
    assert falling[count - 1] - scale < 0.01 * scale
    assert verdict([scale * (1 - 0.005 * i) for i in range(100)]) is None


@given(
    st.lists(st.floats(1, 2), min_size=2, max_size=8).filter(lambda c: max(c) - min(c) > 0.1),
    st.floats(1e-6, 1e6),
)
def test_a_circle_of_any_short_period_is_an_oscillation_and_not_convergence(circle, scale):
    sequence = [3 * scale] + [scale * energy for _ in range(40) for energy in circle]
    _, reason = verdict(sequence)
    # Part of a circle may stand still or rise for as long as that takes to tell.
    flat = any(
        max(part) - min(part) < 2e-3 * max(part)
        for part in ([*circle, *circle][i : i + 3] for i in range(len(circle)))
    )
    assert reason == HaltReason.OSCILLATION or flat


@pytest.mark.parametrize('period', range(2, 9))
def test_every_period_is_noticed_soon(period):
    circle = [1.0 + 0.3 * (i % 2) + 0.02 * i for i in range(period)]
    count, reason = verdict(circle * 20)
    assert reason == HaltReason.OSCILLATION
    assert count <= max(2 * period, 6) + 1


def test_wandering_without_getting_lower_is_an_oscillation():
    rng = np.random.default_rng(0)
    _, reason = verdict([0.5, *(1 + rng.random(100))])
    assert reason == HaltReason.OSCILLATION


def test_a_slowly_damped_descent_is_not_taken_for_a_circle():
    damped = [1 + 0.9**i * (2 + math.cos(2 * i)) for i in range(40)]
    count, reason = verdict(damped) or (40, HaltReason.CONVERGED)
    assert reason == HaltReason.CONVERGED
    assert count > 30


@given(st.floats(1e-6, 1e6), st.integers(0, 3))
def test_what_rises_above_its_beginning_diverges(scale, falls):
    sequence = [scale * (1 - 0.05 * i) for i in range(falls + 1)]
    sequence += [sequence[-1] + scale * 0.3 * i for i in range(1, 10)]
    assert verdict(sequence)[1] == HaltReason.DIVERGED
    assert verdict([scale, 0.9 * scale, 50 * scale]) == (3, HaltReason.DIVERGED)


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_ends_it(bad):
    assert verdict([1.0, 0.5, bad, 0.2]) == (3, HaltReason.NOT_FINITE)
    assert verdict([bad]) == (1, HaltReason.NOT_FINITE)


# The loop


class Script(IRPPlugin):
    """Goes through energies that are written down, one list an item; its output is the step."""

    def __init__(self, clock, cost_s=1.0):
        self.clock, self.cost_s, self.seen = clock, cost_s, []

    def init_state(self, x):
        return self._at(x, [0] * len(x))

    def step(self, state, active):
        x, at = state
        self.seen.append(active.copy())
        return self._at(x, [i + bool(on) for i, on in zip(at, active, strict=True)])

    def _at(self, x, at):
        self.clock.now += self.cost_s
        return x, at

    def energy(self, state):
        x, at = state
        return np.array([lines[min(i, len(lines) - 1)] for lines, i in zip(x, at, strict=True)])

    def output(self, state):
        return np.array(state[1])


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def play(*scripts, budget=math.inf, cost_s=1.0):
    clock = Clock()
    plugin = Script(clock, cost_s)
    refinement = Refinement(plugin, list(scripts), clock)
    refinement.run(np.broadcast_to(float(budget), len(scripts)))
    return refinement


def test_the_best_result_is_kept_and_not_the_last():
    run = play([5.0, 1.0, 3.0, math.nan], [5.0, 4.0, 60.0], [math.nan, 1.0])
    assert run.outputs == [1, 1, 0]
    assert list(run.best) == [1.0, 4.0, math.inf]
    reasons = [told.halt_reason for told in run.telemetry]
    assert reasons == [HaltReason.NOT_FINITE, HaltReason.DIVERGED, HaltReason.NOT_FINITE]
    assert run.telemetry[0].iterations == 4
    assert run.telemetry[0].energy_trajectory[:3] == (5.0, 1.0, 3.0)
    assert not any(told.converged for told in run.telemetry)


def test_an_item_that_has_ended_is_neither_computed_nor_charged():
    slow = [10.0 * 0.7**i for i in range(60)]
    run = play([1.0, 1.0, 1.0], slow)
    assert run.telemetry[0].halt_reason == HaltReason.CONVERGED
    assert run.telemetry[0].iterations == 3
    # Three steps in two, then alone.
    assert run.spent_s[0] == pytest.approx(1.5)
    assert run.spent_s.sum() == pytest.approx(run.telemetry[1].iterations)


@given(
    st.lists(st.floats(0, 12), min_size=1, max_size=5),
    st.integers(1, 3),
    st.floats(0.5, 2),
)
def test_no_item_pays_more_than_its_budget_once_the_cost_of_a_step_is_known(budgets, parts, cost):
    clock = Clock()
    plugin = Script(clock, cost)
    plugin.cost.learn(1, cost)  # an item on its own: the dearest there is
    falling = [1 - 0.003 * i for i in range(300)]
    run = Refinement(plugin, [falling] * len(budgets), clock)
    for _ in range(parts):
        run.run(np.array(budgets) / parts)
    assert (run.spent_s <= np.array(budgets) + cost).all()
    assert all(told.halt_reason == HaltReason.BUDGET for told in run.telemetry)
    assert run.spent_s.sum() == pytest.approx(clock.now)


def test_a_refinement_goes_on_where_its_budget_ended():
    falling = [2.0**-i for i in range(30)]
    whole, halves = play(falling, budget=10), play(falling, budget=5)
    assert halves.budget_limited.all()
    halves.run(np.array([5.0]))
    assert halves.energies == whole.energies
    assert halves.outputs == whole.outputs


def test_an_expectation_that_is_too_high_fades_instead_of_starving_for_ever():
    clock = Clock()
    plugin = Script(clock)
    plugin.cost.learn(1, 100.0)

    def begins():
        run = Refinement(plugin, [[3.0, 2.0, 1.0]], clock)
        run.run(np.array([10.0]))
        return bool(run.energies[0])

    assert not begins()
    assert any(begins() for _ in range(100))


def test_a_message_can_hold_every_trajectory():
    run = play([1 - 0.003 * i for i in range(400)])
    assert run.telemetry[0].iterations == 256
    assert run.telemetry[0].halt_reason == HaltReason.BUDGET


# Latents


@pytest.fixture(scope='module')
def crops():
    """Return 6 crops, float32 `[6, 3, 64, 64]`."""
    frames = [SyntheticWorld(seed=i).render(1.0)[..., ::-1] for i in range(3)]
    cuts = [frame[y : y + 64, x : x + 64] for frame in frames for x, y in ((40, 60), (200, 120))]
    return np.stack(cuts).transpose(0, 3, 1, 2).astype(np.float32) / 255


@pytest.fixture(scope='module')
def plugin():
    return TinyVAEIRP()


@pytest.fixture
def adaptive():
    return AdaptiveVAE(quality=1.0)


def errors(codec, z, x):
    return np.square(codec.decode(np.stack(z)) - x).mean(axis=(1, 2, 3))


def test_refined_latents_decode_better_with_the_decoder_that_receivers_have(plugin, crops):
    codec = plugin.codec
    z, told = plugin.refine(crops)
    before, after = errors(codec, codec.encode(crops), crops), errors(codec, z, crops)
    assert (after < before).all()
    assert np.mean(10 * np.log10(before / after)) > 0.2
    for each, error in zip(told, after, strict=True):
        assert each.reconstruction_error == pytest.approx(error, rel=1e-3)
        assert each.reconstruction_error == min(each.energy_trajectory)
        assert each.iterations == len(each.energy_trajectory) > 2
        assert each.halt_reason == HaltReason.CONVERGED
        assert 0 < each.trust < 1
        assert each.kl_per_dim > 0
    # Nothing that a receiver would find odd.
    far, was = (np.abs(each - codec.latent_mean) for each in (np.stack(z), codec.encode(crops)))
    assert (far <= 1.001 * np.maximum(6 * codec.latent_std, was)).all()


def test_crops_are_refined_alike_together_and_alone(plugin, crops):
    together, _ = plugin.refine(crops)
    alone = np.stack([plugin.refine(crop[None])[0][0] for crop in crops])
    assert np.allclose(together, alone, atol=0.02)


def test_the_slope_is_that_of_the_energy(plugin, crops):
    energy_of = plugin.reconstruction_energy
    z = plugin.codec.encode(crops)
    energy, gradient = energy_of(z, crops)
    assert energy == pytest.approx(errors(plugin.codec, z, crops), rel=1e-3)
    rng = np.random.default_rng(0)
    way = rng.normal(size=z.shape).astype(np.float32) * plugin.codec.latent_std
    width = 1e-2
    rise = (energy_of(z + width * way, crops)[0] - energy_of(z - width * way, crops)[0]) / 2
    assert rise == pytest.approx((gradient * way).sum(1) * width, rel=0.1, abs=1e-6)
    assert np.linalg.eigvalsh(energy_of.metric).min() > 0


def test_a_step_uphill_is_taken_back(plugin, crops):
    state = plugin.init_state(crops)
    everyone = np.ones(len(crops), bool)
    state.rate[:] = 100
    after = plugin.step(state, everyone)
    assert (after.energy > state.energy).all()
    assert np.array_equal(after.best_z, state.best_z)
    assert np.all(after.rate == 50)


def test_a_receivers_decoder_must_share_the_latent_space():
    with pytest.raises(ModelError, match='does not decode the latents of'):
        TinyVAEIRP(decoder='tinyvae_128')


def test_a_static_scene_costs_one_look_and_a_changed_one_more(adaptive, crops):
    def refine(images, tracks=range(1, 7)):
        return adaptive.refine(Crops(images, list(tracks), adaptive.codec.encode(images)))

    rng = np.random.default_rng(0)
    first, told = refine(crops)
    assert min(each.iterations for each in told) > 3
    noisy = (crops + rng.normal(0, 2 / 255, crops.shape)).clip(0, 1).astype(np.float32)
    again, told = refine(noisy)
    assert [each.iterations for each in told] == [1] * 6
    assert all(each.converged for each in told)
    # The cheap result is as good as the dear one.
    assert errors(adaptive.codec, again, crops) == pytest.approx(
        errors(adaptive.codec, first, crops), rel=0.02
    )
    # Nor does a slow drift pass for standing still for ever.
    mix = np.linspace(0, 1, 10, dtype=np.float32)
    drifting = [refine((1 - a) * crops + a * crops[::-1])[1][0].iterations for a in mix]
    assert max(drifting) > 1
    _, told = refine(crops)
    assert np.mean([each.iterations for each in told]) > 3
    _, told = refine(crops, tracks=[0] * 6)
    assert min(each.iterations for each in told) > 3


def test_what_is_good_enough_is_left_alone(adaptive, crops):
    adaptive.quality = 0.5
    _, told = adaptive.refine(Crops(crops))
    variance = crops.var(axis=(1, 2, 3))
    for each, whole in zip(told, variance, strict=True):
        assert each.converged
        assert (each.iterations == 1) == (each.energy_trajectory[0] <= 0.5 * whole)


def test_the_memory_of_tracks_is_bounded(adaptive, crops):
    state = adaptive.init_state(Crops(crops[:1], [1]))
    for track in range(1, 400):
        state.crops = Crops(crops[:1], [track])
        adaptive.remember(state, state.z, [HaltReason.CONVERGED])
    assert len(adaptive._tracks) == 256
    assert 399 in adaptive._tracks


def test_a_frame_has_a_result_for_every_crop_even_without_budget(crops):
    refiner = FrameRefiner('tinyvae', 'cpu', 0.01)
    guess = np.arange(6 * 64, dtype=np.float32).reshape(6, 64)
    result = refiner.refine(crops, guess, [0] * 6, [1.0] * 6, np.full(6, np.nan))
    assert np.array_equal(np.stack(result.outputs), guess)
    assert len(result.telemetry) == 6
    assert sum(share.granted for share in result.shares) == refiner.budget == 1


@given(st.integers(0, 2**32 - 1))
def test_a_delta_gives_the_crop_back(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, 3, 3, 8, 8), dtype=np.float32)
    assert np.abs(from_delta(to_delta(x, y), y) - x).max() <= 1 / 254 + 1e-6


# Discovery


def test_the_plugins_of_this_package_are_found_by_name():
    assert {'tinyvae', 'adaptive_vae'} <= set(available())
    assert isinstance(load('tinyvae', model='tinyvae'), TinyVAEIRP)


def test_a_plugin_that_cannot_be_is_named(monkeypatch):
    points = [
        importlib.metadata.EntryPoint('no_module', 'no_such_module:Plugin', discovery.GROUP),
        importlib.metadata.EntryPoint('no_plugin', 'math:sqrt', discovery.GROUP),
    ]
    monkeypatch.setattr(discovery, 'entry_points', lambda group: points)
    with pytest.raises(ValueError, match="no IRP plugin 'x', known are no_module, no_plugin"):
        load('x')
    with pytest.raises(ValueError, match="'no_module' cannot be imported: No module"):
        load('no_module')
    with pytest.raises(ValueError, match="math:sqrt, the IRP plugin 'no_plugin', is no IRPPlugin"):
        load('no_plugin')


def test_latents_that_keep_places_apart_are_refused(plugin):
    artifact = plugin.codec.artifact
    places = artifact.tensors | {LATENT_MEAN: np.zeros((4, 7, 7), np.float32)}
    with pytest.raises(ModelError, match=r'needs a model with latents \[D\]'):
        ReconstructionEnergy(replace(artifact, tensors=places))
