# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reputation by the evidence of other cameras: lies are found, honest cameras are not accused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbnails import Thumbnails

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.trust import Arbiter, ArbiterConfig
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.trust.fusion.majority import MIN_SHARE, agreement_groups, majority_of
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.trust.reputation import Corroboration, Elapsed, Reputation

SECOND = 10**9
NOW = 1000 * SECOND
MODEL = Thumbnails()
CAMERAS = [f'cam{n}' for n in range(5)]
# Eight objects, the last four of which are not there: orthogonal around the mean latent.
OBJECTS = np.float32(MODEL.latent_mean + 3 * np.eye(48)[:8])
TRUE, FALSE = range(4), range(4, 8)


class Scene:
    """Five cameras at 10 Hz; `sees` returns the objects of a camera at a time in seconds."""

    def __init__(self, sees, trust=lambda camera, time_s: 0.9, **options):
        self.arbiter = Arbiter(CAMERAS, MODEL, ArbiterConfig(**options))
        self.sees, self.trust = sees, trust
        self.frames, self.fused = 0, []

    def run(self, seconds):
        for _ in range(round(10 * seconds)):
            time_s, stamp_ns = self.frames / 10, NOW + self.frames * SECOND // 10
            self.frames += 1
            for camera in CAMERAS:
                telemetry = Telemetry(trust=self.trust(camera, time_s))
                lcts = [
                    LCT.encoded(
                        Latent(OBJECTS[n], model=MODEL.id, track_id=n + 1, telemetry=telemetry),
                        entity_id=camera,
                        sequence=self.frames,
                        stamp_ns=stamp_ns,
                    )
                    for n in self.sees(camera, time_s)
                ]
                for moment in self.arbiter.add_frame(camera, AcceptedFrame(stamp_ns, lcts)):
                    self.fused = moment.fused
        return {camera: self.arbiter.state(camera).reputation for camera in CAMERAS}


def lying(*liars, since_s=0.0):
    def sees(camera, time_s):
        return FALSE if camera in liars and time_s >= since_s else TRUE

    return sees


@pytest.mark.parametrize('since_s', [0, 20])
def test_a_liar_is_suspect_within_a_minute_although_it_reports_full_trust(since_s):
    scene = Scene(lying('cam4', since_s=since_s), lambda *_: 1.0, shared_view=True)
    found = scene.run(since_s + 60)
    assert found['cam4'].value < 0.3
    assert found['cam4'].suspect
    assert min(found[camera].value for camera in CAMERAS[:4]) > 0.9


@pytest.mark.parametrize('since_s', [0, 20])
def test_two_colluders_of_which_one_is_primary_do_not_outweigh_three_honest_cameras(since_s):
    scene = Scene(lying('cam0', 'cam4', since_s=since_s), lambda *_: 1.0, shared_view=True)
    scene.run(since_s + 0.5)
    trusts = [lct.trust for lct in scene.fused]
    assert max(trusts) <= ALONE_TRUST, 'the lies are not confirmed from the first frame on'
    found = scene.run(60)
    assert max(found['cam0'].value, found['cam4'].value) < 0.3
    assert min(found[camera].value for camera in CAMERAS[1:4]) > 0.9
    assert max(lct.trust for lct in scene.fused) < 0.1


def test_without_a_shared_view_a_liar_loses_the_reputation_that_it_claims():
    found = Scene(lying('cam4'), lambda *_: 1.0).run(60)
    assert found['cam4'].value == pytest.approx(0.5, abs=0.01)
    assert not found['cam4'].suspect, 'it may see other objects'


def test_one_true_crop_does_not_cover_for_three_false_ones():
    scene = Scene(
        lambda camera, _: (0, 5, 6, 7) if camera == 'cam4' else TRUE,
        lambda *_: 1.0,
        shared_view=True,
    )
    assert scene.run(60)['cam4'].suspect


@pytest.mark.parametrize(
    ('visible', 'trust'),
    [
        (lambda n: TRUE if n % 3 else (), 0.9),
        (lambda n: () if 100 <= n < 300 else TRUE, 0.9),
        (lambda n: FALSE if 100 <= n < 200 else TRUE, 0.9),
        (lambda n: TRUE if n % 3 == 0 else FALSE, 0.9),
    ],
    ids=('misses frames', 'covered for 20 s', 'turned away for 10 s', 'moves'),
)
def test_honest_cameras_are_not_accused(visible, trust):
    scene = Scene(
        lambda camera, time_s: visible(round(10 * time_s)) if camera == 'cam2' else TRUE,
        shared_view=True,
    )
    for _ in range(12):
        found = scene.run(5)
        assert not any(reputation.suspect for reputation in found.values())
    assert min(reputation.value for reputation in found.values()) > 0.9


def test_a_camera_that_reports_its_fault_recovers():
    scene = Scene(lambda *_: TRUE, lambda camera, s: 0.0 if camera == 'cam3' and s < 5 else 0.9)
    assert scene.run(5)['cam3'].suspect
    assert scene.run(50)['cam3'].value > 0.9


def test_a_liar_that_ends_its_lies_recovers():
    scene = Scene(
        lambda camera, s: FALSE if camera == 'cam4' and s < 60 else TRUE, shared_view=True
    )
    assert scene.run(60)['cam4'].suspect
    found = scene.run(90)['cam4']
    assert found.value > 0.9
    assert not found.suspect


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), max_size=60))
def test_corroboration_is_a_rate(moments):
    corroboration, stamp_ns = Corroboration(), NOW
    for agrees, step_s in moments:
        stamp_ns += step_s * SECOND
        assert 0 <= corroboration.note(agrees, stamp_ns) <= Elapsed.MAX_STEP_S
        assert 0 <= corroboration.rate <= 1


@given(st.floats(0, 1), st.floats(0, 100))
def test_decay_never_raises_the_value(target, seconds):
    reputation = Reputation()
    reputation.decay(target, seconds, 10)
    assert min(target, 0.5) - 1e-9 <= reputation.value <= 0.5


def test_cameras_agree_if_enough_of_their_crops_do():
    a, b = np.eye(4), np.eye(4)[[0, 1]]
    groups = agreement_groups('a', {'a': a[:2], 'b': b, 'c': -b}, [], lambda *_: [True])
    assert groups == [{'a'}, {'b'}, {'c'}]
    assert majority_of(groups) == set()
    assert MIN_SHARE < 0.5
