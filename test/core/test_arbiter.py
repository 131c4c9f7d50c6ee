# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The arbiter without ROS: whom it believes, what it translates, and what it makes of it all."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from thumbnails import Thumbnails

from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.core.lct import Operation, Provenance
from sage_perception.trust import LCT, Arbiter, TrustStore, sign
from sage_perception.trust.arbiter import EXPECTED_TRUST, Frame
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator
from sage_perception.trust.compatibility.report import Level
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.reputation import Reputation
from sage_perception.trust.security.admission import (
    PublisherQuota,
    PublisherRateLimiter,
    TokenBucket,
)
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeSet,
    sign_announcement,
)
from sage_perception.trust.security.canonical import Wire
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason, find_break, find_fault

SECOND = 10**9
NOW = 1000 * SECOND
CAMERAS = ('cam0', 'cam1', 'cam2')
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)
    for n, name in enumerate((*CAMERAS, 'mallory'))
}
OWN = Thumbnails()
RNG = np.random.default_rng(0)
TURNED = Thumbnails(name='turned', turn=np.linalg.qr(RNG.standard_normal((48, 48)))[0])
SMALLER = Thumbnails(27, 'smaller')
# Four things to look at, as different as images are.
THINGS = probes.to_input(8)[[47, 144, 312, 176]]


class Camera:
    """An entity that speaks of what it sees, in the language of its model."""

    def __init__(self, name, model=OWN, entity=None, key=None):
        self.name, self.model, self.key = name, model, key
        self.entity = entity or name
        self.sequence = 0

    def statement(self, kind, *said, **rest):
        self.sequence += 1
        statement = kind(self.entity, self.sequence, self.model.id, *said, **rest)
        return sign_announcement(statement, self.key) if self.key else statement

    def announcement(self):
        mean = np.float32(self.model.latent_mean)
        return self.statement(ModelAnnouncement, mean, np.ones_like(mean))

    def probes(self, latents=None):
        if latents is None:
            latents = probes.probe_latents(self.model)
        return self.statement(ProbeSet, latents)

    def lct(self, image, stamp_ns=NOW, trust=0.8, **latent):
        self.sequence += 1
        mean = np.float32(self.model.encode(image[None])[0])
        latent = {'mean': mean, 'log_var': np.full_like(mean, -2.0), **latent}
        telemetry = Telemetry(trust=trust, reconstruction_error=0.01, kl_per_dim=1.0)
        latent = Latent(**latent, model=self.model.id, telemetry=telemetry)
        step = Provenance(Operation.ENCODE, self.entity, self.model.id, trust=trust)
        lct = LCT(self.entity, self.sequence, stamp_ns, latent, (step,), trust)
        return sign(lct, self.key) if self.key else lct


def introduce(arbiter, camera, latents=None):
    assert arbiter.meet(camera.name, camera.announcement()) is None
    assert arbiter.present(camera.name, camera.probes(latents)) is None
    return arbiter.measure(camera.name)


def look(arbiter, camera, images, stamp_ns=NOW, **rest):
    """Let a camera say what it sees, and the arbiter take it; return the moments."""
    said = [arbiter.hear(camera.name, camera.lct(p, stamp_ns, **rest)) for p in images]
    assert all(isinstance(lct, LCT) for lct in said), said
    return arbiter.see(camera.name, Frame(stamp_ns, said))


def pairs(pairing):
    """Return which crops agree."""
    both = zip(pairing.matches, pairing.agree, strict=True)
    return [(match.a, match.b) for match, agrees in both if agrees]


@pytest.fixture
def arbiter():
    return Arbiter(CAMERAS[:2], OWN)


@pytest.fixture
def guarded():
    """Give an arbiter that believes signed words only, and cameras that have keys."""
    store = TrustStore()
    for name in CAMERAS:
        store.trust(name, public_bytes(KEYS[name]))
    cameras = [Camera(name, key=KEYS[name]) for name in CAMERAS]
    return Arbiter(CAMERAS, OWN, store=store), cameras


# Whom it believes


def test_who_hears_itself_trusts_itself_fully(arbiter):
    camera = Camera('cam0')
    heard = introduce(arbiter, camera)
    assert heard.before.compression_trust == pytest.approx(1.0)
    report = arbiter.report('cam0')
    assert (report.level, report.calibrated, report.probes) == (Level.HIGH, False, probes.COUNT)
    lct = camera.lct(THINGS[0])
    assert arbiter.hear('cam0', lct) is lct, 'as it was said, signature and all'


def test_two_cameras_with_one_model_agree_on_what_both_see(arbiter):
    cameras = [Camera(name) for name in CAMERAS[:2]]
    for camera in cameras:
        introduce(arbiter, camera)
    assert look(arbiter, cameras[0], THINGS) == []
    (moment,) = look(arbiter, cameras[1], THINGS[[2, 0]] * 0.95, NOW)
    (pairing,) = moment.pairings
    assert pairing.camera == 'cam1'
    assert pairs(pairing) == [(0, 1), (2, 0)]
    assert [len(lct.provenance) for lct in moment.fused] == [3, 2, 3, 2]
    for lct in moment.fused:
        assert find_fault(lct) is find_break(lct) is None


def test_the_same_model_in_coarser_arithmetic_is_shared_directly(arbiter):
    camera = Camera('cam1')
    latents = probes.probe_latents(OWN).astype(np.float16).astype(np.float32)
    heard = introduce(arbiter, camera, latents)
    assert 0.99 < heard.trust.compression_trust <= 1.0
    assert not heard.calibrated


def test_another_language_is_refused_until_it_can_be_translated(arbiter):
    ours, theirs = Camera('cam0'), Camera('cam1', TURNED)
    introduce(arbiter, ours)
    assert arbiter.meet('cam1', theirs.announcement()) is None
    assert arbiter.hear('cam1', theirs.lct(THINGS[0])) is RejectionReason.NOT_MEASURED
    assert arbiter.report('cam1').level is Level.UNKNOWN
    heard = introduce(arbiter, theirs)
    assert heard.before.compression_trust < 0.5 < 0.99 < heard.trust.compression_trust
    report = arbiter.report('cam1')
    assert (report.level, report.calibrated) == (Level.HIGH, True)
    assert report.reason.startswith('translated')

    said = theirs.lct(THINGS[0])
    translated = arbiter.hear('cam1', said)
    np.testing.assert_allclose(translated.latent.mean, OWN.encode(THINGS[:1])[0], atol=1e-2)
    assert translated.latent.model == OWN.id
    assert translated.latent.log_var.shape == (48,)
    step = translated.provenance[-1]
    assert (step.operation, step.entity_id, step.parent_id) == (
        Operation.TRANSLATE,
        'arbiter',
        said.id,
    )
    assert step.trust == pytest.approx(heard.trust.compression_trust)
    assert translated.trust == pytest.approx(said.trust * step.trust)
    assert find_fault(translated) is find_break(translated) is None

    look(arbiter, ours, THINGS)
    (moment,) = look(arbiter, theirs, THINGS[::-1])
    assert pairs(moment.pairings[0]) == [(0, 3), (1, 2), (2, 1), (3, 0)]
    assert all(lct.latent.model == OWN.id for lct in moment.fused)


# Compatibility


def test_fewer_dimensions_are_translated_with_the_trust_that_is_left(arbiter):
    camera = Camera('cam1', SMALLER)
    heard = introduce(arbiter, camera)
    assert Level.LOW <= heard.trust.level < Level.HIGH
    translated = arbiter.hear('cam1', camera.lct(THINGS[1]))
    assert translated.latent.dim == 48
    assert translated.trust == pytest.approx(0.8 * heard.trust.compression_trust)


def test_who_speaks_noise_is_refused_and_the_report_says_so(arbiter):
    camera = Camera('cam1', TURNED)
    introduce(arbiter, camera, np.float32(RNG.standard_normal((probes.COUNT, 48))))
    assert arbiter.hear('cam1', camera.lct(THINGS[0])) is RejectionReason.INCOMPATIBLE
    report = arbiter.report('cam1')
    assert (report.level, report.accepted, report.refused) == (Level.NONE, 0, 1)
    assert report.reason.startswith('refused')


@pytest.mark.parametrize('dead', [lambda z: 0 * z, lambda z: z @ TURNED.turn], ids=('dead', 'lie'))
def test_the_same_fingerprint_is_believed_until_its_probes_say_otherwise(arbiter, dead):
    camera = Camera('cam1')
    assert arbiter.meet('cam1', camera.announcement()) is None
    assert isinstance(arbiter.hear('cam1', camera.lct(THINGS[0])), LCT)
    assert math.isnan(arbiter.report('cam1').compression_trust)
    heard = introduce(arbiter, camera, np.float32(dead(probes.probe_latents(OWN))))
    assert not heard.calibrated, 'one fingerprint is one latent space'
    assert arbiter.hear('cam1', camera.lct(THINGS[0])) is RejectionReason.INCOMPATIBLE


def test_a_map_is_dropped_with_the_model_that_it_was_for(arbiter):
    camera = Camera('cam1', TURNED)
    introduce(arbiter, camera)
    camera.model = Thumbnails(name='turned again', turn=TURNED.turn[::-1].copy())
    assert arbiter.hear('cam1', camera.lct(THINGS[0])) is RejectionReason.WRONG_MODEL
    assert arbiter.meet('cam1', camera.announcement()) is None
    assert arbiter.hear('cam1', camera.lct(THINGS[0])) is RejectionReason.NOT_MEASURED
    assert arbiter.report('cam1').level is Level.UNKNOWN
    introduce(arbiter, camera)
    assert isinstance(arbiter.hear('cam1', camera.lct(THINGS[0])), LCT)


def test_what_was_measured_before_is_not_measured_again_unless_asked(tmp_path, monkeypatch):
    measured = []
    evaluate = CompatibilityEstimator.evaluate
    monkeypatch.setattr(
        CompatibilityEstimator,
        'evaluate',
        lambda *a, **k: measured.append(1) or evaluate(*a, **k),
    )
    arbiter = Arbiter(CAMERAS, OWN, cache=tmp_path)
    cameras = [Camera('cam1', TURNED), Camera('cam2', TURNED)]
    for camera in cameras:
        introduce(arbiter, camera)
    assert len(measured) == 1
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    arbiter.measure('cam1', force=True)
    assert len(measured) == 2
    assert file.stat().st_mtime_ns > written
    # A new start has the map on disk.
    again = Arbiter(CAMERAS, OWN, cache=tmp_path)
    written = file.stat().st_mtime_ns
    assert introduce(again, cameras[0]).trust.level is Level.HIGH
    assert file.stat().st_mtime_ns == written


def test_two_cameras_can_be_compared_where_the_model_of_the_one_that_hears_is_at_hand(arbiter):
    introduce(arbiter, Camera('cam0'))
    introduce(arbiter, Camera('cam1', TURNED))
    known = {TURNED.id: TURNED}.__getitem__
    for receiver in ('', 'cam0'):
        report = arbiter.compare(receiver, 'cam1', known)
        assert (report.entity_a, report.entity_b) == (receiver or 'arbiter', 'cam1')
        assert (report.calibrated, report.level) == (True, Level.HIGH)
    there = arbiter.compare('cam1', 'cam0', known)
    assert (there.calibrated, there.level, there.reputation) == (True, Level.HIGH, 0.5)
    with pytest.raises(ValueError, match="'nobody' is not one of the cameras cam0, cam1"):
        arbiter.compare('', 'nobody', known)
    with pytest.raises(ValueError, match="'' is not one of"):
        arbiter.compare('cam0', '', known)


def test_who_presented_nothing_cannot_be_compared(arbiter):
    with pytest.raises(ValueError, match='cam1 has presented no latents of the probes'):
        arbiter.compare('', 'cam1', None)


@pytest.mark.parametrize('scale', [1e-12, 1e30])
def test_latents_of_absurd_scale_do_no_harm(arbiter, scale):
    camera = Camera('cam1', TURNED)
    assert arbiter.meet('cam1', camera.announcement()) is None
    latents = np.float32(probes.probe_latents(TURNED) * scale)
    if arbiter.present('cam1', camera.probes(latents)) is None:
        arbiter.measure('cam1')
    said = arbiter.hear('cam1', camera.lct(THINGS[0], mean=np.full(48, 9e3, np.float32)))
    assert said in (RejectionReason.OUT_OF_RANGE, RejectionReason.NOT_MEASURED)


def test_statistics_and_latents_of_other_dimensions_than_the_model_has_are_refused(arbiter):
    camera = Camera('cam1')
    few = np.ones(16, np.float32)
    assert (
        arbiter.meet('cam1', camera.statement(ModelAnnouncement, few, few))
        is RejectionReason.DIMENSION
    )
    short = camera.lct(THINGS[0], mean=few, log_var=few)
    assert arbiter.hear('cam1', short) is RejectionReason.DIMENSION
    other = Camera('cam1', TURNED)
    introduce(arbiter, other)
    assert arbiter.meet('cam1', other.statement(ModelAnnouncement, few, few)) is None
    short = other.lct(THINGS[0], mean=few, log_var=few)
    assert arbiter.hear('cam1', short) is RejectionReason.DIMENSION


# Packed latents


def test_what_is_packed_is_unpacked_after_it_was_judged(guarded):
    arbiter, (camera, *_) = guarded
    arbiter.meet('cam0', camera.announcement())
    whole = camera.lct(THINGS[0])
    empty = replace(whole.latent, mean=np.empty(0, np.float32), log_var=None)
    packed, wire = replace(whole, latent=empty), Wire(2, b'payload')
    unpacked = []

    def unpack(latent):
        unpacked.append(latent)
        return replace(latent, mean=whole.latent.mean)

    assert arbiter.hear('cam0', packed, wire, unpack) is RejectionReason.BAD_SIGNATURE
    assert not unpacked
    signed = sign(packed, KEYS['cam0'], wire)
    assert np.array_equal(
        arbiter.hear('cam0', signed, wire, unpack).latent.mean, whole.latent.mean
    )
    later = sign(replace(packed, sequence=10, id=b'1' * 16), KEYS['cam0'], wire)

    def no_latent(latent):
        raise ValueError('no latent')

    assert arbiter.hear('cam0', later, wire, no_latent) is RejectionReason.MALFORMED
    screen = arbiter.screen('cam0')
    assert (screen.accepted, screen.refused) == (1, 2)


# Who may speak where


def test_with_signatures_each_topic_is_for_its_own_entity(guarded):
    arbiter, (zero, one, _) = guarded
    assert isinstance(arbiter.hear('cam0', zero.lct(THINGS[0])), LCT)
    assert arbiter.hear('cam0', one.lct(THINGS[0])) is RejectionReason.WRONG_ENTITY
    assert arbiter.meet('cam0', one.announcement()) is RejectionReason.WRONG_ENTITY
    assert arbiter.present('cam0', one.probes()) is RejectionReason.WRONG_ENTITY
    assert arbiter.screen('cam0').reasons == {RejectionReason.WRONG_ENTITY: 1}


def test_an_entity_of_another_name_speaks_where_it_is_said_to():
    store = TrustStore()
    store.trust('robot2/front', public_bytes(KEYS['cam0']))
    arbiter = Arbiter(['cam0'], OWN, store=store, entities={'cam0': 'robot2/front'})
    camera = Camera('cam0', entity='robot2/front', key=KEYS['cam0'])
    introduce(arbiter, camera)
    assert isinstance(arbiter.hear('cam0', camera.lct(THINGS[0])), LCT)


def test_statements_are_believed_as_lcts_are(guarded):
    arbiter, (camera, *_) = guarded
    forger = Camera('cam0', key=KEYS['mallory'])
    for good, forged, take in (
        (camera.announcement(), forger.announcement(), arbiter.meet),
        (camera.probes(), forger.probes(), arbiter.present),
    ):
        assert take('cam0', forged) is RejectionReason.BAD_SIGNATURE
        assert take('cam0', replace(good, signature=b'')) is RejectionReason.UNSIGNED
        assert take('cam0', good) is None
        assert take('cam0', good) is None, 'latched topics say it again'
    new = camera.announcement()
    old = replace(new, sequence=0)
    assert arbiter.meet('cam0', new) is None
    assert arbiter.meet('cam0', sign_announcement(old, KEYS['cam0'])) is RejectionReason.SEQUENCE


def test_a_robot_alone_needs_no_names(arbiter):
    camera = Camera('cam1', entity='anybody')
    introduce(arbiter, camera)
    assert isinstance(arbiter.hear('cam1', camera.lct(THINGS[0])), LCT)


# Several cameras


def test_three_cameras_make_one_of_each_thing_once(guarded):
    arbiter, cameras = guarded
    for camera in cameras:
        introduce(arbiter, camera)
    order = ([0, 1, 2], [2, 0, 3], [1, 0])
    moments = []
    for camera, seen in zip(cameras, order, strict=True):
        moments += look(arbiter, camera, THINGS[seen])
    (moment,) = moments
    assert [p.camera for p in moment.pairings] == ['cam1', 'cam2']
    steps = [len(lct.provenance) - 1 for lct in moment.fused]
    assert steps == [3, 2, 2]
    trusts = [lct.trust for lct in moment.fused]
    assert trusts[0] > trusts[1]
    for lct, thing in zip(moment.fused, THINGS, strict=False):
        np.testing.assert_allclose(lct.latent.mean, OWN.encode(thing[None])[0], atol=1e-5)


def test_the_primary_goes_on_with_whoever_is_there(guarded):
    arbiter, (zero, one, _) = guarded
    assert look(arbiter, zero, THINGS) == []
    assert look(arbiter, one, THINGS) == []
    (moment,) = arbiter.expire(NOW + SECOND)
    assert [p.camera for p in moment.pairings] == ['cam1']
    assert [len(lct.provenance) for lct in moment.fused] == [3] * 4
    assert look(arbiter, zero, THINGS[:1], NOW + SECOND) == []
    (moment,) = arbiter.expire(NOW + 2 * SECOND)
    alone = moment.fused[0]
    assert alone.trust == pytest.approx(
        0.8 * ALONE_TRUST * arbiter.camera_weight('cam0'), rel=0.01
    )
    assert arbiter.alone == 1


def test_one_camera_is_answered_at_once():
    arbiter = Arbiter(['cam0'], OWN)
    (moment,) = look(arbiter, Camera('cam0'), THINGS)
    assert (len(moment.fused), moment.pairings) == (4, [])
    (moment,) = arbiter.see('cam0', Frame(NOW, [], 'tag'))
    assert (moment.fused, moment.frame.tag) == ([], 'tag')


def test_what_geometry_rules_out_is_not_matched():
    shifted = CameraGeometry(np.array([[1.0, 0, -50], [0, 1, 0], [0, 0, 1]]), True, 5.0)
    arbiter = Arbiter(CAMERAS[:2], OWN, relations={'cam1': shifted})
    here, there = Roi(100, 40, 20, 20), Roi(50, 40, 20, 20)
    zero, one = (Camera(name) for name in CAMERAS[:2])
    look(arbiter, zero, THINGS[:1], roi=here)
    (moment,) = look(arbiter, one, THINGS[:1], roi=there)
    assert pairs(moment.pairings[0]) == [(0, 0)]
    look(arbiter, zero, THINGS[:1], NOW + SECOND, roi=here)
    (moment,) = look(arbiter, one, THINGS[:1], NOW + SECOND, roi=here)
    assert moment.pairings[0].matches == []


# Reputation


def reputation(arbiter, camera='cam0'):
    return arbiter.report(camera).reputation


def test_good_latents_earn_slowly_and_worthless_ones_lose_quickly(arbiter):
    camera = Camera('cam0')
    for frame in range(100):
        look(arbiter, camera, THINGS[:1], NOW + frame)
    earned = reputation(arbiter)
    assert Reputation.START < earned < 0.9
    for frame in (200, 201):
        look(arbiter, camera, THINGS[:1], NOW + frame, trust=0.0)
    assert reputation(arbiter) < Reputation.START
    assert EXPECTED_TRUST <= 0.8, 'good ones are not taken for bad'


def test_nobody_can_take_the_reputation_of_one_that_signs(guarded):
    arbiter, (camera, *_) = guarded
    before = reputation(arbiter)
    good = camera.lct(THINGS[0])
    spoilt = replace(good, latent=replace(good.latent, mean=good.latent.mean * np.nan))
    forged = [sign(replace(spoilt, id=bytes([n]) * 16), KEYS['mallory']) for n in range(5)]
    for lct in forged:
        assert arbiter.hear('cam0', lct) is RejectionReason.NOT_FINITE
    assert arbiter.hear('cam0', good) is good
    assert arbiter.hear('cam0', good) is RejectionReason.SEQUENCE
    arbiter.refuse('cam0', RejectionReason.MALFORMED)
    assert reputation(arbiter) == before
    # Its own nonsense is its own fault.
    own = replace(spoilt, sequence=99, id=b'i' * 16)
    for _ in range(3):
        assert arbiter.hear('cam0', sign(own, KEYS['cam0'])) is RejectionReason.NOT_FINITE
    assert reputation(arbiter) == before * (1 - Reputation.LOSS), 'once, however often it is said'


def test_who_has_lost_its_reputation_is_heard_but_not_fused_until_it_is_earned_again(arbiter):
    cameras = [Camera(name) for name in CAMERAS[:2]]
    for _ in range(10):
        arbiter.refuse('cam1', RejectionReason.MALFORMED)
    assert arbiter.suspects('cam1')
    assert reputation(arbiter, 'cam1') == Reputation.FLOOR

    def together(n):
        look(arbiter, cameras[0], THINGS, NOW + n * SECOND)
        (moment,) = look(arbiter, cameras[1], THINGS, NOW + n * SECOND)
        return moment

    moment = together(1)
    assert len(moment.pairings[0].matches) == 4
    assert {len(lct.provenance) for lct in moment.fused} == {2}
    assert arbiter.may_forward('cam1', 4), 'who knows whose fault it was'
    frames = next(n for n in range(2, 200) if len(together(n).fused[0].provenance) == 3)
    assert frames > 20, 'slow to earn'


def test_who_has_lost_its_reputation_and_has_a_key_is_not_vouched_for(guarded):
    arbiter, cameras = guarded
    for n in range(2):
        nonsense = replace(cameras[0].lct(THINGS[0]), trust=7.0)
        assert arbiter.hear('cam0', sign(nonsense, KEYS['cam0'])) is RejectionReason.OUT_OF_RANGE
        assert arbiter.may_forward('cam0', 1) == (n < 1)
    assert arbiter.suspects('cam0')
    assert [arbiter.withheld(camera) for camera in CAMERAS] == [1, 0, 0]
    for _ in range(120):
        look(arbiter, cameras[0], THINGS)
    assert arbiter.may_forward('cam0', 1), 'it is heard, and earns it again'


def test_one_that_sees_what_no_other_does_loses_less_than_one_that_lies(guarded):
    arbiter, cameras = guarded
    for n in range(200):
        stamp = NOW + n * SECOND
        for camera, thing in zip(cameras, (0, 0, 1), strict=True):
            look(arbiter, camera, THINGS[[thing]], stamp)
    agreeing, alone = reputation(arbiter, 'cam1'), reputation(arbiter, 'cam2')
    assert agreeing > 0.9
    assert 0.45 < alone < agreeing
    assert not arbiter.suspects('cam2')


# Floods


class Clock:
    """Stands still until it is told."""

    now = 0.0

    def __call__(self):
        return self.now


def flood(sieve, publisher, count=1000):
    """Return how many of what one publisher says are looked at, none being believed."""
    looked = 0
    for _ in range(count):
        if sieve.admits(publisher):
            looked += 1
            sieve.note(publisher, believed=False)
    return looked


def test_a_flood_costs_no_more_than_its_budget_however_many_it_comes_as():
    clock = Clock()
    sieve = PublisherRateLimiter(clock)
    looked = sum(flood(sieve, bytes([n]), 50) for n in range(100))
    assert looked == TokenBucket.BURST
    clock.now += 1.0
    assert flood(sieve, b'another') == TokenBucket.RATE


def test_who_was_believed_is_not_held_up_by_the_flood_of_others():
    sieve = PublisherRateLimiter(Clock())
    sieve.note(b'honest', believed=True)
    flood(sieve, b'hostile')
    assert sieve.admits(b'honest')
    assert not sieve.admits(b'hostile')
    assert not sieve.admits(b'new'), 'until there is some budget left'
    assert flood(sieve, b'honest') == TokenBucket.BURST, 'whoever floods'


def test_a_flood_of_publishers_that_are_believed_fills_no_memory():
    sieve = PublisherRateLimiter(Clock())
    for n in range(1000):
        sieve.note(n.to_bytes(2, 'big'), believed=True)
    assert len(sieve._known) == PublisherRateLimiter.KNOWN


def heard_of(ration, publisher, count=100):
    """Return how much of what a publisher says is looked at."""
    return sum(ration.admits(publisher) for _ in range(count))


def test_who_says_once_what_it_has_to_say_is_heard_whatever_others_say():
    clock = Clock()
    ration = PublisherQuota(clock)
    assert heard_of(ration, b'hostile') == PublisherQuota.BURST
    assert ration.admits(b'honest')
    clock.now += 10
    assert heard_of(ration, b'hostile') == PublisherQuota.RATE * 10
    assert heard_of(ration, b'honest') == PublisherQuota.BURST


def test_a_flood_of_publishers_has_a_ration_too_and_fills_no_memory():
    clock = Clock()
    ration = PublisherQuota(clock)
    names = [n.to_bytes(2, 'big') for n in range(1000)]
    assert (
        sum(heard_of(ration, name) for name in names)
        == (PublisherQuota.MOST + 1) * PublisherQuota.BURST
    )
    assert len(ration._budgets) == PublisherQuota.MOST
    # Who has been silent since then no longer keeps others out.
    clock.now += PublisherQuota.BURST / PublisherQuota.RATE
    assert heard_of(ration, b'new') == PublisherQuota.BURST
    assert len(ration._budgets) == 1


def test_a_model_without_a_name_is_none(arbiter):
    camera = Camera('cam0')
    said = replace(camera.announcement(), model=ModelId())
    assert arbiter.meet('cam0', said) is RejectionReason.UNKNOWN_MODEL
