# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of joint commands, and the kinematics that it rests on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason
from sage_perception.irp.control import ControlIRP, Reaches
from sage_perception.irp.orchestrator import Orchestrator, Work
from sage_perception.puzzle.joints import Joint
from sage_perception.puzzle.kinematics import KUKA_IIWA, from_euler, serial_chain

HOME = np.array([0.0, 0.5, 0.0, -1.2, 0.0, 0.8, 0.0])


def test_a_planar_arm_reaches_where_trigonometry_puts_it():
    joints = [Joint('a', -3, 3), Joint('b', -3, 3)]
    arm = serial_chain(joints, [(0, 0, 0), (1, 0, 0)], [(0, 0, 0)] * 2, (0.5, 0, 0))
    a, b = 0.4, -1.1
    expected = [np.cos(a) + 0.5 * np.cos(a + b), np.sin(a) + 0.5 * np.sin(a + b), 0]
    np.testing.assert_allclose(arm.forward(np.array([[a, b]]))[0], expected, atol=1e-12)


def test_euler_angles_turn_about_fixed_axes():
    np.testing.assert_allclose(from_euler(np.pi / 2, 0, 0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    # First about x, then about z.
    turned = from_euler(np.pi / 2, 0, np.pi / 2) @ [0, 0, 1]
    np.testing.assert_allclose(turned, [1, 0, 0], atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_the_jacobian_is_the_derivative_of_the_position(seed):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(KUKA_IIWA.lower, KUKA_IIWA.upper, (3, 7))
    hand, jacobian = KUKA_IIWA.jacobian(angles)
    np.testing.assert_allclose(hand, KUKA_IIWA.forward(angles))
    for joint in range(7):
        change = np.zeros(7)
        change[joint] = 1e-6
        difference = KUKA_IIWA.forward(angles + change) - KUKA_IIWA.forward(angles - change)
        np.testing.assert_allclose(difference / 2e-6, jacobian[:, :, joint], atol=1e-6)


def test_the_hand_reaches_targets_within_a_millimeter_and_the_energy_never_rises():
    rng = np.random.default_rng(0)
    targets = np.stack([rng.uniform(0.4, 0.65, 20), rng.uniform(-0.3, 0.3, 20), np.full(20, 0.2)])
    plugin = ControlIRP()
    angles, telemetry = plugin.refine(Reaches(targets.T, np.tile(HOME, (20, 1))))
    error = np.linalg.norm(KUKA_IIWA.forward(np.array(angles)) - targets.T, axis=1)
    assert error.max() <= 1e-3
    for each in telemetry:
        assert each.halt_reason is HaltReason.CONVERGED
        assert (np.diff(each.energy_trajectory) <= 0).all()
        assert each.trust >= 0.98
    assert (np.array(angles) >= KUKA_IIWA.lower).all()
    assert (np.array(angles) <= KUKA_IIWA.upper).all()


def test_a_target_out_of_reach_halts_with_trust_zero():
    (angles,), (telemetry,) = ControlIRP().refine(Reaches(np.array([[3.0, 0, 0]]), HOME[None]))
    assert telemetry.trust == 0
    assert np.isfinite(angles).all()
    assert telemetry.halt_reason is not HaltReason.UNKNOWN


def test_a_target_that_is_not_finite_has_trust_zero_and_does_not_affect_others():
    targets = np.array([[np.nan, 0, 0], [0.5, 0.1, 0.3]])
    _, (wrong, right) = ControlIRP().refine(Reaches(targets, np.tile(HOME, (2, 1))))
    assert (wrong.trust, wrong.halt_reason) == (0, HaltReason.NOT_FINITE)
    assert right.trust >= 0.98


def test_shapes_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match=r'must be \[B, 3\] and \[B, J\]'):
        Reaches(np.zeros((2, 3)), np.zeros((1, 7)))
    with pytest.raises(ValueError, match='5 angles for 7 joints'):
        ControlIRP().init_state(Reaches(np.zeros((1, 3)), np.zeros((1, 5))))


def test_the_orchestrator_shares_its_budget_with_control():
    orchestrator = Orchestrator({'control': ControlIRP(), 'other': ControlIRP()})
    reaches = Reaches(np.array([[0.5, 0.1, 0.3]]), HOME[None])
    budget = 20_000
    results = orchestrator.run({n: Work(reaches, [1.0]) for n in ('control', 'other')}, budget)
    spent = sum(share.spent for result in results.values() for share in result.shares)
    assert 0 < spent <= budget
    assert all(result.telemetry[0].trust > 0.9 for result in results.values())
