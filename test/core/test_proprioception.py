# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents of the body: standardization, decoding, trust, and descriptions of joints."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import LatentKind
from sage_perception.puzzle.joints import Joint, parse_joints
from sage_perception.puzzle.proprioception import (
    DIM,
    BodyState,
    ProprioceptionSpace,
    gravity_direction,
)

ARM = tuple(Joint(f'arm_{i}', -2.0 - i / 10, 1.5 + i / 10, 1.0 + i, 20.0) for i in range(7))
FIELDS = ('position', 'velocity', 'effort', 'gravity', 'angular_velocity', 'acceleration')


def state_of(joints, rng, scale=1.0):
    unit = rng.uniform(-scale, scale, (3, len(joints)))
    lower, upper = (np.array([getattr(j, n) for j in joints]) for n in ('lower', 'upper'))
    gravity = rng.normal(size=3)
    return BodyState(
        lower + (unit[0] + 1) / 2 * (upper - lower),
        unit[1] * [joint.velocity for joint in joints],
        unit[2] * [joint.effort for joint in joints],
        gravity / np.linalg.norm(gravity),
        rng.uniform(-9, 9, 3),
        rng.uniform(-19, 19, 3),
    )


@given(st.integers(1, 32), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_latent_decodes_to_the_state_that_it_holds(count, inertial, seed):
    if inertial and count > DIM - 9:
        count = DIM - 9
    joints = [Joint(f'j{i}', -1.0, 2.0 + i, 3.0, 5.0) for i in range(count)]
    space = ProprioceptionSpace(joints, inertial)
    state = state_of(joints, np.random.default_rng(seed))
    latent = space.encode(state)
    assert latent.kind is LatentKind.PROPRIOCEPTION
    assert latent.mean.shape == (DIM,)
    assert np.abs(latent.mean).max() <= 1
    assert latent.telemetry.trust == 1
    decoded = space.decode(latent)
    held = {*space.groups, *(FIELDS[3:] if inertial else ())}
    for field in FIELDS:
        values = getattr(decoded, field)
        if field in held:
            np.testing.assert_allclose(values, getattr(state, field), atol=2e-5 * (3 + count))
        else:
            assert np.isnan(values).all()


def test_velocities_and_efforts_are_held_as_far_as_they_fit():
    joints = [Joint(f'j{i}', 0, 1) for i in range(19)]
    assert ProprioceptionSpace(ARM, inertial=True).groups == ('position', 'velocity', 'effort')
    assert ProprioceptionSpace(joints[:8], inertial=True).groups == ('position', 'velocity')
    assert ProprioceptionSpace(joints, inertial=True).groups == ('position',)


def test_unknown_values_lower_the_trust_and_stay_unknown():
    space = ProprioceptionSpace(ARM)
    state = state_of(ARM, np.random.default_rng(0))
    state.position[2], state.velocity[:] = np.nan, np.inf
    latent = space.encode(state)
    assert np.isfinite(latent.mean).all()
    assert latent.telemetry.trust == pytest.approx((21 - 8) / 21)
    decoded = space.decode(latent)
    assert np.isnan(decoded.position[2])
    assert np.isnan(decoded.velocity).all()
    np.testing.assert_allclose(np.delete(decoded.position - state.position, 2), 0, atol=1e-5)


def test_nothing_is_known_from_a_latent_without_a_variance():
    space = ProprioceptionSpace(ARM, inertial=True)
    latent = space.encode(state_of(ARM, np.random.default_rng(0)))
    decoded = space.decode(replace(latent, log_var=None))
    for field in FIELDS:
        assert np.isnan(getattr(decoded, field)).all()


def test_values_beyond_their_limits_lower_the_trust_and_are_clipped():
    space = ProprioceptionSpace(ARM)
    state = state_of(ARM, np.random.default_rng(0))
    state.position[0] = 1e300
    latent = space.encode(state)
    assert latent.mean[0] == 1.5
    assert latent.telemetry.trust == pytest.approx(20 / 21)


def test_other_limits_make_another_space():
    space, other = ProprioceptionSpace(ARM), ProprioceptionSpace((*ARM[:6], Joint('x', 0, 1)))
    assert space.id.fingerprint == ProprioceptionSpace(ARM).id.fingerprint
    assert space.id.fingerprint != other.id.fingerprint
    with pytest.raises(ValueError, match='cannot be decoded'):
        other.decode(space.encode(state_of(ARM, np.random.default_rng(0))))


def test_too_many_joints_are_an_error():
    joints = [Joint(f'j{i}', 0, 1) for i in range(33)]
    for count, inertial in ((0, False), (33, False), (24, True)):
        with pytest.raises(ValueError, match='do not fit in 32 dimensions'):
            ProprioceptionSpace(joints[:count], inertial)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_gravity_is_a_unit_vector_or_unknown(quaternion):
    gravity = gravity_direction(quaternion)
    if np.linalg.norm(quaternion) < 1e-6:
        assert np.isnan(gravity).all()
    else:
        assert np.linalg.norm(gravity) == pytest.approx(1)


def test_gravity_of_a_level_and_of_an_inverted_body():
    np.testing.assert_allclose(gravity_direction([0, 0, 0.6, 0.8]), [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(gravity_direction([1, 0, 0, 0]), [0, 0, 1], atol=1e-12)
    # Rolled by 90° about x, the left side of the body (y) points up.
    half = np.sqrt(0.5)
    np.testing.assert_allclose(gravity_direction([half, 0, 0, half]), [0, -1, 0], atol=1e-12)


def test_joints_are_read_from_text():
    pan, lift = parse_joints(['pan:-1.5:1.5', 'lift:0:0.4:0.1:200'])
    assert pan == Joint('pan', -1.5, 1.5)
    assert lift == Joint('lift', 0.0, 0.4, 0.1, 200.0)


@pytest.mark.parametrize(
    ('texts', 'reason'),
    [
        (['pan'], 'write NAME:LOWER:UPPER'),
        (['pan:a:b'], 'write NAME:LOWER:UPPER'),
        (['pan:1:0'], 'must be below'),
        (['pan:0:nan'], 'finite limits'),
        (['pan:0:1:0'], 'must be positive'),
        (['pan:0:1', 'pan:0:2'], 'given twice'),
        ([':0:1'], 'a name'),
        ([f'j{i}:0:1' for i in range(65)], 'at most 64'),
    ],
)
def test_invalid_descriptions_of_joints_are_explained(texts, reason):
    with pytest.raises(ValueError, match=reason):
        parse_joints(texts)
