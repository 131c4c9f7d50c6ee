# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The arbiter: admission, translation, fusion and reputation of several cameras."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from thumbnails import Thumbnails

from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.core.lct import Operation
from sage_perception.trust import LCT, Arbiter, TrustStore, sign, verify
from sage_perception.trust.camera_state import EXPECTED_TRUST
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator
from sage_perception.trust.compatibility.report import Level
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.trust.reputation import Reputation
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeSet,
    sign_announcement,
)
from sage_perception.trust.security.canonical import Wire
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.validation import find_chain_fault, find_fault

SECOND = 10**9
NOW = 1000 * SECOND
CAMERAS = ('cam0', 'cam1', 'cam2')
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)
    for n, name in enumerate((*CAMERAS, 'mallory', 'arbiter'))
}
OWN = Thumbnails()
RNG = np.random.default_rng(0)
TURNED = Thumbnails(name='turned', turn=np.linalg.qr(RNG.standard_normal((48, 48)))[0])
SMALLER = Thumbnails(27, 'smaller')
# Four objects that differ as much as images do.
OBJECTS = probes.scale(probes.images()[[47, 144, 312, 176]], 8, 3)
WIRE = Wire(2, b'payload')


class Camera:
    """An entity that publishes the latents of its model."""

    def __init__(self, name, model=OWN, entity=None, key=None):
        self.name, self.model, self.key = name, model, key
        self.entity = entity or name
        self.sequence = 0

    def announce(self, kind, *content):
        self.sequence += 1
        announcement = kind(self.entity, self.sequence, self.model.id, *content)
        return sign_announcement(announcement, self.key)

    def announcement(self):
        mean = np.float32(self.model.latent_mean)
        return self.announce(ModelAnnouncement, mean, np.ones_like(mean))

    def probes(self, latents=None):
        if latents is None:
            latents = probes.probe_latents(self.model)
        return self.announce(ProbeSet, latents)

    def lct(self, image, stamp_ns=NOW, trust=0.8, **latent):
        self.sequence += 1
        mean = np.float32(self.model.encode(image[None])[0])
        latent = {'mean': mean, 'log_var': np.full_like(mean, -2.0), **latent}
        telemetry = Telemetry(trust=trust, reconstruction_error=0.01, kl_per_dim=1.0)
        lct = LCT.encoded(
            Latent(**latent, model=self.model.id, telemetry=telemetry),
            entity_id=self.entity,
            sequence=self.sequence,
            stamp_ns=stamp_ns,
        )
        return sign(lct, self.key) if self.key else lct


def introduce(arbiter, camera, latents=None):
    """Register a camera's model, and evaluate its probe latents."""
    assert arbiter.register_model(camera.name, camera.announcement()) is None
    assert arbiter.submit_probes(camera.name, camera.probes(latents)) is None
    return arbiter.evaluate(camera.name)


def admit(arbiter, camera, image, **rest):
    """Return the accepted LCT of an image."""
    verdict = arbiter.admit(camera.name, camera.lct(image, **rest))
    assert verdict.reason is None
    return verdict.accepted


def reason_for(arbiter, camera, lct, *more):
    return arbiter.admit(camera, lct, *more).reason


def add_frame(arbiter, camera, images, stamp_ns=NOW, **rest):
    """Add a frame with these images; return the moments."""
    lcts = [admit(arbiter, camera, image, stamp_ns=stamp_ns, **rest) for image in images]
    return arbiter.add_frame(camera.name, AcceptedFrame(stamp_ns, lcts))


def agreeing(pairing):
    """Return the indices of the crops that agree."""
    both = zip(pairing.matches, pairing.agree, strict=True)
    return [(match.a, match.b) for match, agrees in both if agrees]


def counts(arbiter, camera='cam0'):
    report = arbiter.report(camera)
    return report.accepted, report.refused


@pytest.fixture
def arbiter():
    return Arbiter(CAMERAS[:2], OWN)


@pytest.fixture
def strict():
    """Return an arbiter that requires signatures, and cameras with trusted keys."""
    store = TrustStore()
    for name in CAMERAS:
        store.trust(name, public_bytes(KEYS[name]))
    cameras = [Camera(name, key=KEYS[name]) for name in CAMERAS]
    return Arbiter(CAMERAS, OWN, store=store), cameras


# Compatibility


def test_same_model_is_shared_directly(arbiter):
    camera = Camera('cam0')
    result = introduce(arbiter, camera)
    assert result.before.compression_trust == pytest.approx(1.0)
    report = arbiter.report('cam0')
    assert (report.level, report.calibrated, report.probes) == (Level.HIGH, False, probes.COUNT)


def test_lct_of_the_same_model_is_not_changed(arbiter):
    camera = Camera('cam0')
    introduce(arbiter, camera)
    lct = camera.lct(OBJECTS[0])
    assert arbiter.admit('cam0', lct).accepted is lct


def test_same_model_in_lower_precision_is_shared_directly(arbiter):
    latents = probes.probe_latents(OWN).astype(np.float16).astype(np.float32)
    result = introduce(arbiter, Camera('cam1'), latents)
    assert 0.99 < result.trust.compression_trust <= 1.0
    assert not result.calibrated


def test_another_model_is_rejected_until_it_was_evaluated(arbiter):
    camera = Camera('cam1', TURNED)
    assert arbiter.register_model('cam1', camera.announcement()) is None
    reason = reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0]))
    assert reason is RejectionReason.NOT_MEASURED
    assert arbiter.report('cam1').level is Level.UNKNOWN
    assert not arbiter.state('cam1').compatible
    result = introduce(arbiter, camera)
    assert result.before.compression_trust < 0.5 < 0.99 < result.trust.compression_trust
    report = arbiter.report('cam1')
    assert (report.level, report.calibrated) == (Level.HIGH, True)
    assert report.reason.startswith('translated')
    assert arbiter.state('cam1').compatible


def test_only_accepted_lcts_count_as_received(arbiter):
    camera = Camera('cam1', TURNED)
    assert arbiter.register_model('cam1', camera.announcement()) is None
    lct = camera.lct(OBJECTS[0])
    assert reason_for(arbiter, 'cam1', lct) is RejectionReason.NOT_MEASURED
    introduce(arbiter, camera)
    assert reason_for(arbiter, 'cam1', lct) is None
    for topic in ('cam0', 'cam1'):
        assert reason_for(arbiter, topic, lct) is RejectionReason.REPLAYED


def test_another_model_is_translated(arbiter):
    camera = Camera('cam1', TURNED)
    result = introduce(arbiter, camera)
    lct = camera.lct(OBJECTS[0])
    translated = arbiter.admit('cam1', lct).accepted
    np.testing.assert_allclose(translated.latent.mean, OWN.encode(OBJECTS[:1])[0], atol=1e-2)
    assert translated.latent.model == OWN.id
    assert translated.latent.log_var.shape == (48,)
    step = translated.provenance[-1]
    assert (step.operation, step.entity_id) == (Operation.TRANSLATE, 'arbiter')
    assert step.parent_id == lct.id
    assert step.trust == pytest.approx(result.trust.compression_trust)
    assert translated.trust == pytest.approx(lct.trust * step.trust)
    assert find_fault(translated) is find_chain_fault(translated) is None


def test_translated_latents_are_fused(arbiter):
    zero, one = Camera('cam0'), Camera('cam1', TURNED)
    for camera in (zero, one):
        introduce(arbiter, camera)
    add_frame(arbiter, zero, OBJECTS)
    (moment,) = add_frame(arbiter, one, OBJECTS[::-1])
    assert agreeing(moment.pairings[0]) == [(0, 3), (1, 2), (2, 1), (3, 0)]
    assert all(lct.latent.model == OWN.id for lct in moment.fused)


def test_model_with_fewer_dimensions_is_translated_with_less_trust(arbiter):
    camera = Camera('cam1', SMALLER)
    result = introduce(arbiter, camera)
    assert Level.LOW <= result.trust.level < Level.HIGH
    translated = admit(arbiter, camera, OBJECTS[1])
    assert translated.latent.dim == 48
    assert translated.trust == pytest.approx(0.8 * result.trust.compression_trust)


def test_noise_is_incompatible(arbiter):
    camera = Camera('cam1', TURNED)
    introduce(arbiter, camera, np.float32(RNG.standard_normal((probes.COUNT, 48))))
    reason = reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0]))
    assert reason is RejectionReason.INCOMPATIBLE
    report = arbiter.report('cam1')
    assert (report.level, report.accepted, report.refused) == (Level.NONE, 0, 1)
    assert not arbiter.state('cam1').compatible


@pytest.mark.parametrize(
    'change', [lambda z: 0 * z, lambda z: z @ TURNED.turn], ids=('zeros', 'rotated')
)
def test_own_fingerprint_is_accepted_until_probe_latents_contradict_it(arbiter, change):
    camera = Camera('cam1')
    assert arbiter.register_model('cam1', camera.announcement()) is None
    assert reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0])) is None
    assert math.isnan(arbiter.report('cam1').compression_trust)
    result = introduce(arbiter, camera, np.float32(change(probes.probe_latents(OWN))))
    assert not result.calibrated, 'equal fingerprints mean one latent space'
    reason = reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0]))
    assert reason is RejectionReason.INCOMPATIBLE


def test_result_is_not_used_for_another_model_of_the_same_camera(arbiter):
    camera = Camera('cam1', TURNED)
    introduce(arbiter, camera)
    camera.model = Thumbnails(name='turned again', turn=TURNED.turn[::-1].copy())
    reason = reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0]))
    assert reason is RejectionReason.WRONG_MODEL
    assert arbiter.register_model('cam1', camera.announcement()) is None
    reason = reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0]))
    assert reason is RejectionReason.NOT_MEASURED
    assert arbiter.report('cam1').level is Level.UNKNOWN
    introduce(arbiter, camera)
    assert reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0])) is None


def test_equal_probe_latents_are_evaluated_once_unless_forced(monkeypatch):
    evaluated = []
    evaluate = CompatibilityEstimator.evaluate
    monkeypatch.setattr(
        CompatibilityEstimator,
        'evaluate',
        lambda *a, **k: evaluated.append(1) or evaluate(*a, **k),
    )
    arbiter = Arbiter(CAMERAS, OWN)
    for camera in ('cam1', 'cam2'):
        introduce(arbiter, Camera(camera, TURNED))
    assert len(evaluated) == 1
    arbiter.evaluate('cam1', force=True)
    assert len(evaluated) == 2


def test_latent_map_is_stored_and_used_after_a_restart(tmp_path):
    camera = Camera('cam1', TURNED)
    arbiter = Arbiter(CAMERAS, OWN, cache=tmp_path)
    introduce(arbiter, camera)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    arbiter.evaluate('cam1', force=True)
    assert file.stat().st_mtime_ns > written
    written = file.stat().st_mtime_ns
    restarted = Arbiter(CAMERAS, OWN, cache=tmp_path)
    assert introduce(restarted, camera).trust.level is Level.HIGH
    assert file.stat().st_mtime_ns == written


def test_cameras_are_compared_with_the_receivers_model(arbiter):
    introduce(arbiter, Camera('cam0'))
    introduce(arbiter, Camera('cam1', TURNED))
    find = {TURNED.id: TURNED}.__getitem__
    for receiver in ('', 'cam0'):
        report = arbiter.compare(receiver, 'cam1', find)
        assert (report.entity_a, report.entity_b) == (receiver or 'arbiter', 'cam1')
        assert (report.calibrated, report.level) == (True, Level.HIGH)
    report = arbiter.compare('cam1', 'cam0', find)
    assert (report.calibrated, report.level, report.reputation) == (True, Level.HIGH, 0.5)


def test_comparison_of_an_unknown_camera_raises(arbiter):
    introduce(arbiter, Camera('cam0'))
    for receiver, sender, text in (
        ('', 'cam9', "'cam9' is not one of the cameras cam0, cam1"),
        ('cam0', '', "'' is not one of"),
        ('', 'cam1', 'cam1 has submitted no probe latents'),
        ('cam1', 'cam0', 'cam1 has announced no model'),
    ):
        with pytest.raises(ValueError, match=text):
            arbiter.compare(receiver, sender, None)


@pytest.mark.parametrize('scale', [1e-12, 1e30])
def test_probe_latents_of_extreme_scale_are_harmless(arbiter, scale):
    camera = Camera('cam1', TURNED)
    assert arbiter.register_model('cam1', camera.announcement()) is None
    latents = np.float32(probes.probe_latents(TURNED) * scale)
    if arbiter.submit_probes('cam1', camera.probes(latents)) is None:
        arbiter.evaluate('cam1')
    extreme = camera.lct(OBJECTS[0], mean=np.full(48, 9e3, np.float32))
    reason = reason_for(arbiter, 'cam1', extreme)
    assert reason in (RejectionReason.OUT_OF_RANGE, RejectionReason.NOT_MEASURED)
    introduce(arbiter, camera)
    assert reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0])) is None


def test_dimensions_must_be_those_of_the_model(arbiter):
    few = np.ones(16, np.float32)
    own, other = Camera('cam1'), Camera('cam1', TURNED)
    announcement = own.announce(ModelAnnouncement, few, few)
    assert arbiter.register_model('cam1', announcement) is RejectionReason.DIMENSION
    short = own.lct(OBJECTS[0], mean=few, log_var=few)
    assert reason_for(arbiter, 'cam1', short) is RejectionReason.DIMENSION
    introduce(arbiter, other)
    announcement = other.announce(ModelAnnouncement, few, few)
    assert arbiter.register_model('cam1', announcement) is None
    short = other.lct(OBJECTS[0], mean=few, log_var=few)
    assert reason_for(arbiter, 'cam1', short) is RejectionReason.DIMENSION


# Admission


def test_each_lct_is_counted_once_whatever_rejects_it(arbiter):
    camera, noise = Camera('cam0'), Camera('cam1', TURNED)
    introduce(arbiter, camera)
    introduce(arbiter, noise, np.float32(RNG.standard_normal((probes.COUNT, 48))))
    lct = camera.lct(OBJECTS[0])
    for each in (lct, lct, replace(lct, stamp_ns=0, sequence=99)):
        arbiter.admit('cam0', each)
    arbiter.reject('cam0', RejectionReason.MALFORMED)
    arbiter.admit('cam1', noise.lct(OBJECTS[0]))
    assert counts(arbiter, 'cam0') == (1, 3)
    assert counts(arbiter, 'cam1') == (0, 1)


def test_packed_latent_is_unpacked_after_its_signature_was_checked(strict):
    arbiter, (camera, *_) = strict
    arbiter.register_model('cam0', camera.announcement())
    whole = camera.lct(OBJECTS[0])
    empty = replace(whole.latent, mean=np.empty(0, np.float32), log_var=None)
    packed = replace(whole, latent=empty)

    def unpack(latent):
        return replace(latent, mean=whole.latent.mean)

    def fail(latent):
        raise ValueError('bad payload')

    reason = reason_for(arbiter, 'cam0', packed, WIRE, fail)
    assert reason is RejectionReason.BAD_SIGNATURE
    verdict = arbiter.admit('cam0', sign(packed, KEYS['cam0'], WIRE), WIRE, fail)
    assert (verdict.reason, verdict.detail) == (RejectionReason.MALFORMED, 'bad payload')
    verdict = arbiter.admit('cam0', sign(packed, KEYS['cam0'], WIRE), WIRE, unpack)
    assert np.array_equal(verdict.accepted.latent.mean, whole.latent.mean)
    assert counts(arbiter) == (1, 2)


def test_packed_latent_of_a_model_that_is_not_announced_cannot_be_unpacked(arbiter):
    lct = Camera('cam0').lct(OBJECTS[0])
    packed = replace(lct, latent=replace(lct.latent, mean=np.empty(0, np.float32), log_var=None))

    def fail(latent):
        raise ValueError('no packer')

    assert reason_for(arbiter, 'cam0', packed, WIRE, fail) is RejectionReason.UNKNOWN_MODEL


def test_with_signatures_required_each_topic_is_for_one_entity(strict):
    arbiter, (zero, one, _) = strict
    wrong = RejectionReason.WRONG_ENTITY
    assert reason_for(arbiter, 'cam0', zero.lct(OBJECTS[0])) is None
    assert reason_for(arbiter, 'cam0', one.lct(OBJECTS[0])) is wrong
    assert arbiter.register_model('cam0', one.announcement()) is wrong
    assert arbiter.submit_probes('cam0', one.probes()) is wrong
    assert arbiter.state('cam0').admission.reasons == {wrong: 1}


def test_entity_of_a_camera_can_be_named():
    store = TrustStore()
    store.trust('robot2/front', public_bytes(KEYS['cam0']))
    arbiter = Arbiter(['cam0'], OWN, store=store, entities={'cam0': 'robot2/front'})
    camera = Camera('cam0', entity='robot2/front', key=KEYS['cam0'])
    introduce(arbiter, camera)
    assert reason_for(arbiter, 'cam0', camera.lct(OBJECTS[0])) is None


def test_without_signatures_any_entity_is_accepted(arbiter):
    camera = Camera('cam1', entity='robot7')
    introduce(arbiter, camera)
    assert reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0])) is None


def test_lct_in_the_name_of_the_arbiter_is_rejected(arbiter):
    forger = Camera('cam0', entity='arbiter')
    reason = reason_for(arbiter, 'cam0', forger.lct(OBJECTS[0]))
    assert reason is RejectionReason.WRONG_ENTITY


@pytest.mark.parametrize('kind', ['model', 'probes'])
def test_announcements_are_verified_and_may_be_repeated(strict, kind):
    arbiter, (camera, *_) = strict
    forger = Camera('cam0', key=KEYS['mallory'])
    take, make = {
        'model': (arbiter.register_model, Camera.announcement),
        'probes': (arbiter.submit_probes, Camera.probes),
    }[kind]
    old, new = make(camera), make(camera)
    assert take('cam0', make(forger)) is RejectionReason.BAD_SIGNATURE
    assert take('cam0', replace(new, signature=b'')) is RejectionReason.UNSIGNED
    assert take('cam0', new) is None
    assert take('cam0', new) is None, 'latched topics repeat it'
    assert take('cam0', old) is RejectionReason.REPLAYED


def test_model_without_a_fingerprint_is_unknown(arbiter):
    announcement = replace(Camera('cam0').announcement(), model=ModelId())
    assert arbiter.register_model('cam0', announcement) is RejectionReason.UNKNOWN_MODEL


# Fusion


def test_two_cameras_agree_on_the_objects_that_both_see(arbiter):
    zero, one = cameras = [Camera(name) for name in CAMERAS[:2]]
    for camera in cameras:
        introduce(arbiter, camera)
    assert add_frame(arbiter, zero, OBJECTS) == []
    (moment,) = add_frame(arbiter, one, OBJECTS[[2, 0]] * 0.95, NOW)
    (pairing,) = moment.pairings
    assert pairing.camera == 'cam1'
    assert agreeing(pairing) == [(0, 1), (2, 0)]
    assert [len(lct.provenance) for lct in moment.fused] == [3, 2, 3, 2]
    for lct in moment.fused:
        assert find_fault(lct) is find_chain_fault(lct) is None
    assert arbiter.counts == {'agreements': 2, 'disagreements': 0, 'unpaired': 0}


def test_three_cameras_are_fused_once(strict):
    arbiter, cameras = strict
    for camera in cameras:
        introduce(arbiter, camera)
    order = ([0, 1, 2], [2, 0, 3], [1, 0])
    moments = []
    for camera, visible in zip(cameras, order, strict=True):
        moments += add_frame(arbiter, camera, OBJECTS[visible])
    (moment,) = moments
    assert [p.camera for p in moment.pairings] == ['cam1', 'cam2']
    assert [len(lct.provenance) - 1 for lct in moment.fused] == [3, 2, 2]
    trusts = [lct.trust for lct in moment.fused]
    assert trusts[0] > trusts[1]
    for lct, image in zip(moment.fused, OBJECTS, strict=False):
        np.testing.assert_allclose(lct.latent.mean, OWN.encode(image[None])[0], atol=1e-5)


def test_own_lcts_are_signed_with_one_sequence():
    store = TrustStore()
    for name in (*CAMERAS, 'arbiter'):
        store.trust(name, public_bytes(KEYS[name]))
    identity = Identity('arbiter', KEYS['arbiter'])
    arbiter = Arbiter(CAMERAS[:2], OWN, store=store, identity=identity)
    zero, one = Camera('cam0', key=KEYS['cam0']), Camera('cam1', TURNED, key=KEYS['cam1'])
    for camera in (zero, one):
        introduce(arbiter, camera)
    add_frame(arbiter, zero, OBJECTS)
    translated = [admit(arbiter, one, image) for image in OBJECTS]
    (moment,) = arbiter.add_frame('cam1', AcceptedFrame(NOW, translated))
    own = [*translated, *moment.fused]
    assert [verify(lct, store) for lct in own] == [None] * 8
    sequences = [lct.sequence for lct in own]
    assert sequences == sorted(set(sequences))


def test_translated_lct_that_no_message_can_hold_is_rejected(arbiter, monkeypatch):
    camera = Camera('cam1', TURNED)
    introduce(arbiter, camera)
    with monkeypatch.context() as patch:

        def fail(lct):
            raise ValueError('too long')

        patch.setattr(arbiter.identity, 'sign', fail)
        verdict = arbiter.admit('cam1', camera.lct(OBJECTS[0]))
    assert (verdict.reason, verdict.detail) == (RejectionReason.MALFORMED, 'too long')
    assert counts(arbiter, 'cam1') == (0, 1)
    assert reason_for(arbiter, 'cam1', camera.lct(OBJECTS[0])) is None


def test_primary_camera_is_fused_with_the_cameras_that_are_there(strict):
    arbiter, (zero, one, _) = strict
    assert add_frame(arbiter, zero, OBJECTS) == []
    assert add_frame(arbiter, one, OBJECTS) == []
    (moment,) = arbiter.expire(NOW + SECOND)
    assert [p.camera for p in moment.pairings] == ['cam1']
    assert [len(lct.provenance) for lct in moment.fused] == [3] * 4


def test_primary_camera_alone_has_low_trust(strict):
    arbiter, (zero, *_) = strict
    assert add_frame(arbiter, zero, OBJECTS[:1]) == []
    (moment,) = arbiter.expire(NOW + SECOND)
    expected = 0.8 * ALONE_TRUST * arbiter.camera_weight('cam0')
    assert moment.fused[0].trust == pytest.approx(expected, rel=0.01)
    assert arbiter.counts['unpaired'] == 1


def test_single_camera_does_not_wait():
    arbiter = Arbiter(['cam0'], OWN)
    (moment,) = add_frame(arbiter, Camera('cam0'), OBJECTS)
    assert (len(moment.fused), moment.pairings) == (4, [])
    (moment,) = arbiter.add_frame('cam0', AcceptedFrame(NOW, [], 'tag'))
    assert (moment.fused, moment.frame.tag) == ([], 'tag')


def test_geometry_excludes_matches():
    shifted = CameraGeometry(np.array([[1.0, 0, -50], [0, 1, 0], [0, 0, 1]]), True, 5.0)
    arbiter = Arbiter(CAMERAS[:2], OWN, geometry={'cam1': shifted})
    here, there = Roi(100, 40, 20, 20), Roi(50, 40, 20, 20)
    zero, one = (Camera(name) for name in CAMERAS[:2])
    add_frame(arbiter, zero, OBJECTS[:1], roi=here)
    (moment,) = add_frame(arbiter, one, OBJECTS[:1], roi=there)
    assert agreeing(moment.pairings[0]) == [(0, 0)]
    add_frame(arbiter, zero, OBJECTS[:1], NOW + SECOND, roi=here)
    (moment,) = add_frame(arbiter, one, OBJECTS[:1], NOW + SECOND, roi=here)
    assert moment.pairings[0].matches == []


# Reputation


def reputation(arbiter, camera='cam0'):
    return arbiter.report(camera).reputation


def test_good_frames_raise_the_reputation_slowly_and_bad_ones_lower_it_quickly(arbiter):
    camera = Camera('cam0')
    for frame in range(100):
        add_frame(arbiter, camera, OBJECTS[:1], NOW + frame)
    assert Reputation.START < reputation(arbiter) < 0.9
    for frame in (200, 201):
        add_frame(arbiter, camera, OBJECTS[:1], NOW + frame, trust=0.0)
    assert reputation(arbiter) < Reputation.START
    assert EXPECTED_TRUST <= 0.8, 'the good frames above count as good'


def test_third_party_cannot_lower_the_reputation_of_an_entity_with_a_key(strict):
    arbiter, (camera, *_) = strict
    before = reputation(arbiter)
    good = camera.lct(OBJECTS[0])
    spoiled = replace(good, latent=replace(good.latent, mean=good.latent.mean * np.nan))
    for n in range(5):
        forged = sign(replace(spoiled, id=bytes([n]) * 16), KEYS['mallory'])
        assert reason_for(arbiter, 'cam0', forged) is RejectionReason.NOT_FINITE
    assert arbiter.admit('cam0', good).accepted is good
    assert reason_for(arbiter, 'cam0', good) is RejectionReason.REPLAYED
    arbiter.reject('cam0', RejectionReason.MALFORMED)
    assert reputation(arbiter) == before


def test_faulty_lct_of_an_entity_lowers_its_reputation_once(strict):
    arbiter, (camera, *_) = strict
    before, good = reputation(arbiter), camera.lct(OBJECTS[0])
    own = replace(good, latent=replace(good.latent, mean=good.latent.mean * np.nan))
    for _ in range(3):
        reason = reason_for(arbiter, 'cam0', sign(own, KEYS['cam0']))
        assert reason is RejectionReason.NOT_FINITE
    assert reputation(arbiter) == before * (1 - Reputation.LOSS)


def test_suspect_camera_is_not_fused_until_it_recovers(arbiter):
    cameras = [Camera(name) for name in CAMERAS[:2]]
    for _ in range(10):
        arbiter.reject('cam1', RejectionReason.MALFORMED)
    assert arbiter.state('cam1').reputation.suspect
    assert reputation(arbiter, 'cam1') == Reputation.MIN

    def moment_at(n):
        add_frame(arbiter, cameras[0], OBJECTS, NOW + n * SECOND)
        (moment,) = add_frame(arbiter, cameras[1], OBJECTS, NOW + n * SECOND)
        return moment

    moment = moment_at(1)
    assert len(moment.pairings[0].matches) == 4
    assert {len(lct.provenance) for lct in moment.fused} == {2}
    assert arbiter.may_forward('cam1', 4), 'a third party may have sent the malformed messages'
    frames = next(n for n in range(2, 200) if len(moment_at(n).fused[0].provenance) == 3)
    assert frames > 20, 'recovers slowly'


def test_lcts_of_a_suspect_camera_with_a_key_are_withheld_until_it_recovers(strict):
    arbiter, cameras = strict
    for n in range(2):
        invalid = sign(replace(cameras[0].lct(OBJECTS[0]), trust=7.0), KEYS['cam0'])
        assert reason_for(arbiter, 'cam0', invalid) is RejectionReason.OUT_OF_RANGE
        assert arbiter.may_forward('cam0', 1) == (n < 1)
    assert arbiter.state('cam0').reputation.suspect
    assert [arbiter.state(camera).withheld for camera in CAMERAS] == [1, 0, 0]
    for _ in range(120):
        add_frame(arbiter, cameras[0], OBJECTS)
    assert arbiter.may_forward('cam0', 1)


def test_camera_that_sees_other_objects_is_not_suspect(strict):
    arbiter, cameras = strict
    for n in range(200):
        stamp = NOW + n * SECOND
        for camera, index in zip(cameras, (0, 0, 1), strict=True):
            add_frame(arbiter, camera, OBJECTS[[index]], stamp)
    agreeing, alone = reputation(arbiter, 'cam1'), reputation(arbiter, 'cam2')
    assert agreeing > 0.9
    assert 0.45 < alone < agreeing
    assert not arbiter.state('cam2').reputation.suspect
