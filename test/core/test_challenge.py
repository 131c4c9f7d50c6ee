# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Challenges and live statistics: poisoned probe latents do not gain trust."""

import math

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from thumbnails import Thumbnails

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.trust import Arbiter, ArbiterConfig, TrustStore
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.challenge import Challenges
from sage_perception.trust.compatibility.challenge_images import (
    COUNT,
    challenge_images,
    challenge_latents,
    new_nonce,
)
from sage_perception.trust.compatibility.live import MIN_LATENTS, LiveStatistics
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeAnswer,
    ProbeSet,
    sign_announcement,
)
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.vision.attention import Attention
from sage_perception.vision.sources import open_source

SECOND = 10**9
NOW = 1_800_000_000 * SECOND
RNG = np.random.default_rng(0)
OWN = Thumbnails()
TURNED = Thumbnails(name='turned', turn=np.linalg.qr(RNG.standard_normal((48, 48)))[0])
SMALLER = Thumbnails(27, 'smaller')
KEY, FORGED = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PERMUTED = RNG.permutation(48)
SCENE = np.concatenate(
    [probe_set.scale(challenge_images(bytes([n]) * 32), 8, 3) for n in range(8)]
)


class Sender:
    """A camera; `answers` and `sends` are the models of its answers and of its live latents."""

    def __init__(self, model, answers=None, sends=None, probes=None, key=KEY, config=None):
        self.model, self.key = model, key
        self.answers, self.sends = answers or model, sends or model
        self.probes = probe_set.probe_latents(model) if probes is None else probes
        self.sequence = 0
        store = TrustStore()
        store.trust('cam0', public_bytes(KEY))
        self.arbiter = Arbiter(['cam0'], OWN, config, store=store)
        self.state = self.arbiter.state('cam0')
        mean = np.float32(model.latent_mean)
        model_info = self.signed(ModelAnnouncement, mean, np.ones_like(mean))
        assert self.arbiter.register_model('cam0', model_info) is None
        assert self.arbiter.submit_probes('cam0', self.signed(ProbeSet, self.probes)) is None
        self.result = self.arbiter.evaluate('cam0')

    def signed(self, kind, *content, key=None):
        self.sequence += 1
        made = kind('cam0', self.sequence, self.model.id, *content)
        return sign_announcement(made, key or self.key)

    def answer(self, nonce, **key):
        latents = np.float32(challenge_latents(self.answers, nonce))
        return self.signed(ProbeAnswer, latents, nonce, **key)

    def challenge(self):
        """Challenge the camera; return the trust that its answer supports."""
        nonce = self.arbiter.challenge('cam0', NOW)
        answer = self.answer(nonce)
        assert self.arbiter.submit_answer('cam0', answer) is None
        return self.arbiter.judge_answer('cam0', answer)

    def send(self, frames=100):
        """Send frames of four live latents at 10 Hz; return the reputation."""
        x = SCENE[RNG.permutation(len(SCENE))]
        for n in range(frames):
            stamp_ns, images = NOW + n * SECOND // 10, x[[(4 * n + m) % len(x) for m in range(4)]]
            telemetry = Telemetry(trust=1.0)
            lcts = [
                LCT.encoded(
                    Latent(np.float32(z), model=OWN.id, telemetry=telemetry),
                    entity_id='cam0',
                    sequence=n,
                    stamp_ns=stamp_ns,
                )
                for z in self.sends.encode(images)
            ]
            self.arbiter.add_frame('cam0', AcceptedFrame(stamp_ns, lcts))
        return self.state.reputation


def test_a_period_of_zero_disables_challenges():
    sender = Sender(OWN, config=ArbiterConfig(challenge_period_s=0.0))
    assert sender.arbiter.challenge('cam0', NOW) is None


@pytest.mark.parametrize('period_s', [-1.0, math.nan])
def test_a_setting_out_of_range_is_named(period_s):
    with pytest.raises(ValueError, match=f'challenge_period_s is {period_s}'):
        ArbiterConfig(challenge_period_s=period_s)


@pytest.mark.parametrize('model', [OWN, TURNED, SMALLER], ids=lambda model: model.id.name)
def test_an_honest_sender_passes_every_challenge(model):
    sender = Sender(model)
    for n in range(4):
        assert sender.challenge() > 0.5
        assert not sender.state.challenges.failed
        assert sender.state.challenges.passed == n + 1
        sender.state.challenges._due_ns = 0
    assert sender.state.consistent


def test_images_of_a_challenge_depend_on_its_nonce():
    a, b = new_nonce(), new_nonce()
    assert a != b
    assert not np.array_equal(challenge_images(a), challenge_images(b))
    assert np.array_equal(challenge_images(a), challenge_images(bytes(a)))
    known = probe_set.images()
    assert not any((image == known).all((1, 2, 3)).any() for image in challenge_images(a))


@pytest.mark.parametrize('kind', ['copied', 'made up', 'distorted'])
def test_poisoned_probe_latents_fail_a_challenge(kind):
    own = probe_set.probe_latents(OWN)
    if kind == 'copied':  # the latents of another model, whose encoder the sender does not have
        sender = Sender(OWN, answers=TURNED)
    elif kind == 'made up':  # a map of its own choice from its latents to those of the receiver
        sender = Sender(TURNED, probes=np.float32(own[:, PERMUTED]))
    else:  # half of the directions are exchanged
        mixed = np.float32(own @ np.diag(np.where(np.arange(48) < 6, -1, 1)))
        sender = Sender(TURNED, answers=TURNED, probes=mixed)
    assert sender.result.trust.compression_trust > 0.9, 'its probe latents are accepted'
    sender.challenge()
    assert sender.state.challenges.failed
    assert not sender.state.consistent
    assert sender.send().suspect


def test_challenges_that_are_not_answered_fail():
    sender = Sender(OWN)
    now = NOW
    for _ in range(Challenges.MAX_MISSED):
        assert sender.arbiter.challenge('cam0', now)
        assert sender.arbiter.challenge('cam0', now + SECOND) is None, 'one is open'
        assert not sender.state.challenges.failed
        now += 100 * SECOND
    sender.arbiter.challenge('cam0', now)
    assert sender.state.challenges.failed
    nonce = sender.state.challenges.nonce
    answer = sender.answer(nonce)
    assert sender.arbiter.submit_answer('cam0', answer) is None
    assert sender.arbiter.judge_answer('cam0', answer) > 0.9
    assert not sender.state.challenges.failed


def test_only_the_entity_answers_and_only_once():
    sender = Sender(OWN)
    nonce = sender.arbiter.challenge('cam0', NOW)
    submit = sender.arbiter.submit_answer
    assert submit('cam0', sender.answer(nonce, key=FORGED)) is RejectionReason.BAD_SIGNATURE
    assert submit('cam0', sender.answer(new_nonce())) is RejectionReason.REPLAYED
    answer = sender.answer(nonce)
    assert submit('cam0', answer) is None
    assert submit('cam0', answer) is RejectionReason.REPLAYED
    few = sender.signed(ProbeAnswer, np.zeros((COUNT - 1, 48), np.float32), nonce)
    assert submit('cam0', few) is RejectionReason.DIMENSION


def test_challenges_come_at_random_times():
    challenges, issued = Challenges(period_s=60), []
    for n in range(4000):
        nonce = challenges.next(NOW + n * SECOND)
        if nonce:
            challenges.close(nonce)
            issued.append(n)
    gaps = np.diff(issued)
    assert gaps.min() >= 30
    assert gaps.max() <= 91
    assert gaps.std() > 5
    assert challenges.next(NOW - 10**6 * SECOND), 'the clock was set back'


@pytest.mark.parametrize(
    'change',
    [
        lambda z: z @ TURNED.turn,
        lambda z: z[:, PERMUTED],
        lambda z: 4 * z,
        lambda z: RNG.standard_normal(z.shape),
        lambda z: probe_set.probe_latents(OWN)[RNG.integers(0, probe_set.COUNT, len(z))],
    ],
    ids=('rotated', 'permuted', 'scaled', 'noise', 'probes'),
)
def test_live_latents_of_another_encoder_are_found(change):
    class Other(Thumbnails):
        def encode(self, x):
            return change(super().encode(x))

    with_right_answers = Sender(OWN)
    other = Thumbnails.__new__(Other)
    other.__dict__.update(OWN.__dict__)
    with_right_answers.sends = other
    assert with_right_answers.challenge() > 0.9
    assert with_right_answers.send(120).suspect


@pytest.mark.parametrize('model', [OWN, TURNED], ids=lambda model: model.id.name)
def test_live_latents_of_the_encoder_are_consistent(model):
    sender = Sender(model)
    sender.sends = OWN  # translated
    assert sender.send(120).value > 0.6
    assert sender.state.live.contrast > 1
    assert sender.state.live.copied < 0.1


def test_latents_of_a_synthetic_scene_are_consistent():
    codec = load_crop_codec('tinyvae')
    encoder, attention = CropEncoder(codec, measure_every=1000), Attention()
    live = LiveStatistics(probe_set.probe_latents(codec))
    with open_source('synthetic://?seed=1&width=320&height=240&fps=15&pace=fast') as source:
        for n in range(60):
            crops = attention.attend(source.read(5.0).image, n / 15)
            if crops:
                live.add(encoder.encode_crops(crops).means)
            assert live.consistent
    assert live.count > MIN_LATENTS


def test_few_latents_are_not_judged():
    live = LiveStatistics(probe_set.probe_latents(OWN))
    live.add(RNG.standard_normal((MIN_LATENTS - 1, 48)))
    assert math.isnan(live.contrast)
    assert live.consistent
    live.add([np.zeros(3)])
    assert live.count == MIN_LATENTS - 1


def test_latents_of_one_unchanging_object_are_not_judged_by_their_contrast():
    probes = probe_set.probe_latents(OWN)
    live = LiveStatistics(probes)
    one = probes.mean(0) + 0.5 * RNG.standard_normal(48).astype(np.float32)
    live.add(one + 0.01 * RNG.standard_normal((2 * MIN_LATENTS, 48)))
    assert live.diversity == pytest.approx(1, abs=0.1)
    assert live.consistent
    live.add(probes.mean(0) + 0.5 * RNG.standard_normal((4 * MIN_LATENTS, 48)))
    assert live.diversity > 10
    assert not live.consistent


@given(angle=st.floats(0, 2 * np.pi), gain=st.floats(0.5, 2))
def test_the_contrast_does_not_depend_on_the_basis_or_the_scale(angle, gain):
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((300, 16)) * np.linspace(0.2, 3, 16)
    seen = gain * rng.standard_normal((200, 16)) * np.linspace(0.2, 3, 16) + probes.mean(0)
    turn = np.eye(16)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn = turn @ np.linalg.qr(rng.standard_normal((16, 16)))[0]
    a, b = LiveStatistics(probes), LiveStatistics(probes @ turn)
    a.add(seen)
    b.add(seen @ turn)
    assert b.contrast == pytest.approx(a.contrast, rel=1e-6)
    assert b.diversity == pytest.approx(a.diversity, rel=1e-6)
