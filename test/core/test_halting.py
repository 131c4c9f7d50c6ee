# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The halting criterion of refinements."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason
from sage_perception.irp.halting import Halting

halt = Halting()
energies = st.lists(st.floats(0, 1e3) | st.sampled_from([math.nan, math.inf, 0.0]), min_size=1)


def first_halt(sequence):
    """Return after how many energies a sequence halts, and why; None if it does not."""
    for count in range(1, len(sequence) + 1):
        if reason := halt(sequence[:count]):
            return count, reason
    return None


@given(energies, st.integers(-40, 40))
def test_is_independent_of_the_unit_of_the_energies(sequence, power):
    scaled = [math.ldexp(energy, power) for energy in sequence]
    assert halt(scaled) == halt(sequence)


@given(st.floats(1e-6, 1e6), st.floats(0.01, 0.9))
def test_a_decaying_energy_converges_within_1_percent_of_its_limit(scale, factor):
    falling = [scale * (1 + factor**i) for i in range(200)]
    count, reason = first_halt(falling)
    assert reason == HaltReason.CONVERGED
    assert falling[count - 1] - scale < 0.01 * scale


def test_a_constantly_falling_energy_does_not_halt():
    assert first_halt([1 - 0.005 * i for i in range(100)]) is None


@given(
    st.lists(st.floats(1, 2), min_size=2, max_size=8).filter(lambda c: max(c) - min(c) > 0.1),
    st.floats(1e-6, 1e6),
)
def test_a_cycle_of_up_to_8_steps_is_an_oscillation(cycle, scale):
    sequence = [3 * scale] + [scale * energy for _ in range(40) for energy in cycle]
    _, reason = first_halt(sequence)
    # Three equal energies within a cycle pass as convergence.
    flat = any(
        max(part) - min(part) < 2e-3 * max(part)
        for part in ([*cycle, *cycle][i : i + 3] for i in range(len(cycle)))
    )
    assert reason == HaltReason.OSCILLATION or flat


@pytest.mark.parametrize('period', range(2, 9))
def test_a_cycle_is_detected_after_two_turns(period):
    cycle = [1.0 + 0.3 * (i % 2) + 0.02 * i for i in range(period)]
    count, reason = first_halt(cycle * 20)
    assert reason == HaltReason.OSCILLATION
    assert count <= max(2 * period, 6) + 1


def test_random_energies_without_a_new_minimum_are_an_oscillation():
    rng = np.random.default_rng(0)
    _, reason = first_halt([0.5, *(1 + rng.random(100))])
    assert reason == HaltReason.OSCILLATION


def test_a_slowly_damped_oscillation_is_not_a_cycle():
    damped = [1 + 0.9**i * (2 + math.cos(2 * i)) for i in range(40)]
    count, reason = first_halt(damped) or (40, HaltReason.CONVERGED)
    assert reason == HaltReason.CONVERGED
    assert count > 30


@given(st.floats(1e-6, 1e6), st.integers(0, 3))
def test_energies_that_rise_above_the_first_one_diverge(scale, falls):
    sequence = [scale * (1 - 0.05 * i) for i in range(falls + 1)]
    sequence += [sequence[-1] + scale * 0.3 * i for i in range(1, 10)]
    assert first_halt(sequence)[1] == HaltReason.DIVERGED


@given(st.floats(1e-6, 1e6))
def test_an_explosion_of_the_energy_diverges(scale):
    assert first_halt([scale, 0.9 * scale, 50 * scale]) == (3, HaltReason.DIVERGED)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_an_energy_that_is_not_finite_halts(value):
    assert first_halt([1.0, 0.5, value, 0.2]) == (3, HaltReason.NOT_FINITE)
    assert first_halt([value]) == (1, HaltReason.NOT_FINITE)
