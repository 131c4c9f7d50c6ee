# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The effector: limits of rate and range, trust, and the dead-man rule."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, LatentKind, ModelId
from sage_perception.core.lct import LCT
from sage_perception.puzzle.action import ACTION, ACTION_DIM, LOG_VAR_UNUSED, LOG_VAR_USED
from sage_perception.puzzle.effector import Effector, State, parse_places

PLACES = ['head_pan=pan:-1:1:2', 'head_tilt=tilt:-0.5:0.5:1']
SECOND = 10**9
PERIOD_S = 0.05
START_NS = 100 * SECOND


def action(pan, tilt=None, stamp_ns=START_NS, trust=0.9):
    mean = np.zeros(ACTION_DIM, np.float32)
    log_var = np.full(ACTION_DIM, LOG_VAR_UNUSED, np.float32)
    for place, value in enumerate((pan, tilt)):
        if value is not None:
            mean[place], log_var[place] = value, LOG_VAR_USED
    latent = Latent(mean, log_var, LatentKind.ACTION, ACTION)
    return LCT.encoded(latent, entity_id='brain', sequence=1, stamp_ns=stamp_ns, trust=trust)


def ready(pan=0.0, tilt=0.0, **options):
    settings = {'min_trust': 0.5, 'timeout_s': 0.5, **options}
    effector = Effector(parse_places(PLACES), **settings)
    effector.add_position('pan', pan, START_NS)
    effector.add_position('tilt', tilt, START_NS)
    return effector


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(-3, 3))
def test_commands_never_exceed_the_rate_nor_leave_the_range_any_further(targets, start):
    effector = ready(start)
    before = start
    for i, target in enumerate(targets):
        now_ns = START_NS + i * int(PERIOD_S * SECOND)
        assert effector.add_action(action(np.float32(target), stamp_ns=now_ns), now_ns)
        effector.add_position('pan', before, now_ns)
        position = effector.next_setpoint(now_ns, PERIOD_S).positions['pan']
        assert abs(position - before) <= 2 * PERIOD_S + 1e-9
        assert abs(position) <= max(1, abs(before)) + 1e-9
        before = position


def test_joints_reach_their_target_and_those_without_a_command_stay():
    effector = ready()
    for i in range(20):
        now_ns = START_NS + i * int(PERIOD_S * SECOND)
        effector.add_action(action(0.5, stamp_ns=now_ns), now_ns)
        effector.add_position('pan', 0.0, now_ns)
        setpoint = effector.next_setpoint(now_ns, PERIOD_S)
    assert setpoint.positions == {'pan': pytest.approx(0.5)}
    assert setpoint.velocities == {'pan': 0}


def test_speed_scales_the_rate():
    effector = ready(speed=0.1)
    effector.add_action(action(1.0), START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S).positions['pan'] == pytest.approx(0.01)


def test_without_a_fresh_action_the_joints_stop_once_and_then_nothing_is_commanded():
    effector = ready()
    assert effector.next_setpoint(START_NS, PERIOD_S) is None
    effector.add_action(action(1.0), START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S).velocities['pan'] > 0
    later = START_NS + int(0.51 * SECOND)
    effector.add_position('pan', 0.07, later)
    stop = effector.next_setpoint(later, PERIOD_S)
    assert stop.positions == {'pan': 0.07}
    assert stop.velocities == {'pan': 0}
    assert effector.state is State.NO_ACTION
    assert effector.next_setpoint(later, PERIOD_S) is None


def test_joints_stop_where_they_were_sent_last_if_their_positions_are_not_known():
    effector = ready()
    for tick in range(12):
        now_ns = START_NS + tick * int(PERIOD_S * SECOND)
        effector.add_action(action(1.0, stamp_ns=now_ns), now_ns)
        setpoint = effector.next_setpoint(now_ns, PERIOD_S)
        if effector.state is not State.MOVING:
            break
        sent = setpoint.positions
    # The measured position is that of the start, half a second ago.
    assert effector.state is State.NO_POSITION
    assert sent['pan'] > 0.5
    assert setpoint.positions == sent
    assert setpoint.velocities == {'pan': 0}


def test_a_stop_is_no_farther_than_a_joint_can_trail_its_command():
    effector = ready(speed=0.1)
    effector.add_action(action(1.0), START_NS)
    sent = effector.next_setpoint(START_NS, PERIOD_S).positions['pan']
    later = START_NS + int(0.51 * SECOND)
    effector.add_position('pan', -1e9, later)
    stop = effector.next_setpoint(later, PERIOD_S)
    assert stop.positions == {'pan': pytest.approx(sent - 0.1 * 2 * 0.5)}


def test_a_joint_that_the_last_action_does_not_command_stops_once():
    effector = ready()
    effector.add_action(action(1.0, 1.0), START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S).velocities['tilt'] > 0
    effector.add_position('tilt', 0.04, START_NS)
    effector.add_action(action(1.0), START_NS)
    setpoint = effector.next_setpoint(START_NS, PERIOD_S)
    assert setpoint.positions['tilt'] == pytest.approx(0.04)
    assert setpoint.velocities['tilt'] == 0
    assert setpoint.velocities['pan'] > 0
    assert list(effector.next_setpoint(START_NS, PERIOD_S).positions) == ['pan']


def test_after_the_clock_jumps_back_new_actions_are_followed_and_old_ones_are_not():
    effector = Effector(parse_places(PLACES), 0.5, 0.5)
    effector.add_action(action(1.0), START_NS)
    assert effector.next_setpoint(START_NS + SECOND, PERIOD_S) is None
    # The old action was not followed for lack of positions, and its time comes again.
    effector.add_position('pan', 0.0, START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S) is None
    early = START_NS - 50 * SECOND
    effector.add_position('pan', 0.0, early)
    assert effector.add_action(action(-1.0, stamp_ns=early), early)
    assert effector.next_setpoint(early, PERIOD_S).positions['pan'] < 0


def test_positions_of_other_joints_are_not_kept():
    effector = ready()
    size = len(pickle.dumps(effector))
    for number in range(1000):
        effector.add_position(f'joint_{number}', 0.0, START_NS)
    assert len(pickle.dumps(effector)) == size


def test_without_fresh_positions_nothing_moves():
    effector = Effector(parse_places(PLACES), 0.5, 0.5)
    effector.add_action(action(1.0), START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S) is None
    assert effector.state is State.NO_POSITION
    effector.add_position('pan', float('nan'), START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S) is None
    effector.add_position('pan', 0.0, START_NS - SECOND)
    assert effector.next_setpoint(START_NS, PERIOD_S) is None


@pytest.mark.parametrize(
    ('lct', 'reason'),
    [
        (action(1.0, trust=0.49), 'not trusted'),
        (action(1.0, trust=float('nan')), 'not trusted'),
        (action(float('nan')), 'not finite'),
        (action(1.0, stamp_ns=START_NS - SECOND), 'too old'),
        (action(1.0, stamp_ns=START_NS + SECOND), 'too old'),
        (
            replace(action(1.0), latent=replace(action(1.0).latent, kind=LatentKind.FUSED)),
            'not an action',
        ),
        (
            replace(action(1.0), latent=replace(action(1.0).latent, model=ModelId())),
            'not an action',
        ),
        (
            replace(action(1.0), latent=replace(action(1.0).latent, log_var=None)),
            'no log-variance',
        ),
    ],
)
def test_other_actions_are_not_followed_and_counted(lct, reason):
    effector = ready()
    assert not effector.add_action(lct, START_NS)
    assert effector.refused == {reason: 1}
    assert effector.next_setpoint(START_NS, PERIOD_S) is None


def test_an_action_that_arrives_late_does_not_replace_a_newer_one():
    effector = ready()
    assert effector.add_action(action(1.0), START_NS)
    assert not effector.add_action(action(-1.0, stamp_ns=START_NS - SECOND // 10), START_NS)
    assert effector.next_setpoint(START_NS, PERIOD_S).positions['pan'] > 0


@pytest.mark.parametrize(
    ('texts', 'reason'),
    [
        (['pan:-1:1'], 'write PLACE=JOINT'),
        (['tail=pan:-1:1'], 'write PLACE=JOINT'),
        (['head_pan=a:-1:1', 'head_pan=b:-1:1'], 'occurs twice'),
        (['head_pan=a:1:-1'], 'must be below'),
    ],
)
def test_invalid_places_are_explained(texts, reason):
    with pytest.raises(ValueError, match=reason):
        parse_places(texts)
