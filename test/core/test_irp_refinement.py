# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The refinement loop: which results it keeps, and who pays for a step."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason
from sage_perception.irp import IRPPlugin, Refinement


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Scripted(IRPPlugin):
    """Returns scripted energies, one list for each item; the output is the step number."""

    def __init__(self, clock, step_s=1.0):
        self.clock, self.step_s = clock, step_s

    def init_state(self, x):
        return self._at(x, [0] * len(x))

    def step(self, state, active):
        x, at = state
        return self._at(x, [i + bool(on) for i, on in zip(at, active, strict=True)])

    def _at(self, x, at):
        self.clock.now += self.step_s
        return x, at

    def energy(self, state):
        x, at = state
        return np.array([lines[min(i, len(lines) - 1)] for lines, i in zip(x, at, strict=True)])

    def output(self, state):
        return np.array(state[1])


def refined(*scripts, budget_s=math.inf):
    """Return the refinement of scripted items, each step of which takes 1 s."""
    clock = Clock()
    refinement = Refinement(Scripted(clock), list(scripts), clock)
    refinement.run(np.broadcast_to(float(budget_s), len(scripts)))
    return refinement


def test_keeps_the_best_result_and_not_the_last():
    run = refined([5.0, 1.0, 3.0, math.nan], [5.0, 4.0, 60.0], [math.nan, 1.0])
    assert run.outputs == [1, 1, 0]
    assert list(run.best) == [1.0, 4.0, math.inf]


def test_telemetry_has_the_halt_reason_and_all_energies():
    run = refined([5.0, 1.0, 3.0, math.nan], [5.0, 4.0, 60.0], [math.nan, 1.0])
    reasons = [telemetry.halt_reason for telemetry in run.telemetry]
    assert reasons == [HaltReason.NOT_FINITE, HaltReason.DIVERGED, HaltReason.NOT_FINITE]
    assert run.telemetry[0].iterations == 4
    assert run.telemetry[0].energy_trajectory[:3] == (5.0, 1.0, 3.0)
    assert not any(telemetry.converged for telemetry in run.telemetry)


def test_a_halted_item_is_neither_computed_nor_charged():
    slow = [10.0 * 0.7**i for i in range(60)]
    run = refined([1.0, 1.0, 1.0], slow)
    assert run.telemetry[0].halt_reason == HaltReason.CONVERGED
    assert run.telemetry[0].iterations == 3
    # Three steps, each shared by two items.
    assert run.spent_s[0] == pytest.approx(1.5)
    assert run.spent_s.sum() == pytest.approx(run.telemetry[1].iterations)


@given(
    st.lists(st.floats(0, 12), min_size=1, max_size=5),
    st.integers(1, 3),
    st.floats(0.5, 2),
)
def test_no_item_exceeds_its_budget_by_more_than_one_step(budgets, parts, step_s):
    clock = Clock()
    plugin = Scripted(clock, step_s)
    plugin.cost.update(1, step_s)  # the most expensive case: a step of one item
    falling = [1 - 0.003 * i for i in range(300)]
    run = Refinement(plugin, [falling] * len(budgets), clock)
    for _ in range(parts):
        run.run(np.array(budgets) / parts)
    assert (run.spent_s <= np.array(budgets) + step_s).all()
    assert all(telemetry.halt_reason == HaltReason.BUDGET for telemetry in run.telemetry)
    assert run.spent_s.sum() == pytest.approx(clock.now)


def test_continues_with_more_budget():
    falling = [2.0**-i for i in range(30)]
    whole, halves = refined(falling, budget_s=10), refined(falling, budget_s=5)
    assert halves.budget_limited.all()
    halves.run(np.array([5.0]))
    assert halves.energies == whole.energies
    assert halves.outputs == whole.outputs


def test_a_cost_estimate_that_is_too_high_decays_until_a_step_is_tried():
    clock = Clock()
    plugin = Scripted(clock)
    plugin.cost.update(1, 100.0)

    def starts():
        run = Refinement(plugin, [[3.0, 2.0, 1.0]], clock)
        run.run(np.array([10.0]))
        return bool(run.energies[0])

    assert not starts()
    assert any(starts() for _ in range(100))


def test_halts_after_256_iterations_the_bound_of_the_message():
    run = refined([1 - 0.003 * i for i in range(400)])
    assert run.telemetry[0].iterations == 256
    assert run.telemetry[0].halt_reason == HaltReason.BUDGET


def test_refine_returns_results_and_telemetry_within_a_budget():
    plugin = Scripted(Clock(), step_s=0.0)
    outputs, telemetry = plugin.refine([[3.0, 2.0, 1.0, 1.0, 1.0]], budget_ms=1000.0)
    assert outputs == [2]
    assert telemetry[0].converged
