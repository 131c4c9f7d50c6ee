# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Relayed LCTs: each is verified on its own, whatever the array around it claims."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import LCT, Operation, Provenance, step_from
from sage_perception.ros.conversions.lcts import lct_to_msg, packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.endpoints import Node
from sage_perception.ros.identity import KEYS, REQUIRE_SIGNATURES, TrustedKeys
from sage_perception.ros.local_bus import ProcessId
from sage_perception.ros.message_form import sign_relay
from sage_perception.ros.relayed import LCTRejected, RelayedVerifier
from sage_perception.trust import TrustStore
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rate_limit import TokenBucket
from sage_perception.trust.security.rejection import RejectionReason

MODEL = ModelId('m', '1', bytes(range(32)))
PACKER = Packer(np.zeros(4, np.float32), np.ones(4, np.float32))
CAMERA, ARBITER, UNKNOWN = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3)
)
SECOND = 10**9
PUBLISHER = b'publisher'


class VerifyingNode(Node):
    PARAMETERS = (REQUIRE_SIGNATURES, KEYS)

    def __init__(self, **options):
        super().__init__('verifying', **options)

    def setup(self):
        self.verifier = RelayedVerifier(
            self, 'trusted', TrustedKeys(self), {MODEL.fingerprint: PACKER}
        )

    def now_ns(self):
        return self.get_clock().now().nanoseconds

    def accepted(self, *lcts, publisher=PUBLISHER):
        """Return the ids of the accepted LCTs of an array."""
        frames = self.verifier.frames(LCTArray(lcts=lcts), publisher)
        return [lct.id for frame in frames for lct in frame.lcts]

    def rejected(self):
        """Return the number of rejected LCTs by reason."""
        return {RejectionReason(text): n for text, n in self.verifier.rejections.items()}


@pytest.fixture
def strict(ros, tmp_path):
    """Return a node that requires signatures; `cam0` and `arbiter` have keys."""
    store = TrustStore(tmp_path)
    store.trust('cam0', public_bytes(CAMERA))
    store.trust('arbiter', public_bytes(ARBITER))
    return ros.make(VerifyingNode, '-p', f'keys:={tmp_path}', '-p', 'require_signatures:=true')


@pytest.fixture
def unsigned(ros):
    """Return a node that does not require signatures."""
    return ros.make(VerifyingNode, name='unsigned')


_sequences = iter(range(1, 10**6))


def an_lct(stamp_ns, **changes):
    lct = LCT.encoded(
        Latent(np.float32([1, 2, 0.5, -1]), model=MODEL),
        entity_id='cam0',
        sequence=next(_sequences),
        stamp_ns=stamp_ns,
        trust=0.5,
    )
    return replace(lct, **changes)


def signed(lct, key=CAMERA, encoding=Encoding.FLOAT32):
    return lct_to_msg(lct, encoding, PACKER, key)


def with_steps(lct, steps):
    more = [Provenance(Operation.RELAY, 'cam0', MODEL, bytes([n]) * 16) for n in range(1, steps)]
    return replace(lct, provenance=(*lct.provenance, *more))


def test_stamp_and_camera_are_the_signed_ones(strict):
    now = strict.now_ns()
    parent, _ = packed_lct_from_msg(signed(an_lct(now)))
    step = step_from(parent, Operation.TRANSLATE, 'arbiter', MODEL)
    translated = LCT.derived(
        parent.latent,
        (*parent.provenance, step),
        entity_id='arbiter',
        sequence=1,
        stamp_ns=now,
    )
    later = Header(stamp=stamp_to_msg(now + 1000 * SECOND), frame_id='lens')
    array = LCTArray(header=later, camera='cam7', source_width=640, source_height=480)
    for lct in (signed(an_lct(now)), signed(translated, ARBITER)):
        array.lcts = [lct]
        (frame,) = strict.verifier.frames(array, PUBLISHER)
        assert (frame.camera, frame.stamp_ns) == ('cam0', now)
        assert frame.header == Header(stamp=stamp_to_msg(now), frame_id='lens')
        assert frame.size == (640, 480)
        assert [lct.id for lct in frame.lcts] == [bytes(lct.id)]


def test_each_lct_of_an_array_is_verified_on_its_own(strict):
    now = strict.now_ns()
    good = an_lct(now)
    unreadable = signed(an_lct(now))
    unreadable.latent.kind = 200
    changed = signed(an_lct(now))
    changed.latent.mean[0] += 1
    another = replace(good.latent, model=ModelId('other', '1', bytes(32 * [9])))
    array = [
        unreadable,
        changed,
        signed(an_lct(now), UNKNOWN),
        lct_to_msg(an_lct(now)),
        signed(an_lct(now, latent=another)),
        signed(with_steps(an_lct(now), 14)),
        signed(an_lct(now - 60 * SECOND)),
        signed(good),
    ]
    assert strict.accepted(*array) == [good.id]
    assert strict.rejected() == {
        RejectionReason.MALFORMED: 1,
        RejectionReason.BAD_SIGNATURE: 2,
        RejectionReason.UNSIGNED: 1,
        RejectionReason.WRONG_MODEL: 1,
        RejectionReason.OUT_OF_RANGE: 1,
        RejectionReason.STAMP: 1,
    }


def test_replayed_lcts_are_rejected(strict):
    first, second = (signed(an_lct(strict.now_ns())) for _ in range(2))
    assert strict.accepted(second) == [bytes(second.id)]
    assert strict.accepted(second) == strict.accepted(first) == []
    assert strict.rejected() == {RejectionReason.REPLAYED: 2}


def test_single_lct_of_any_age_is_verified_repeatedly_and_not_counted(strict):
    old = signed(an_lct(1))
    for _ in range(2):
        assert strict.verifier.verify(old).id == bytes(old.id)
    with pytest.raises(LCTRejected, match='missing signature'):
        strict.verifier.verify(lct_to_msg(an_lct(1)))
    assert strict.rejected() == {}


@pytest.mark.parametrize('encoding', [Encoding.FLOAT16, Encoding.INT8])
def test_packed_latents_are_unpacked(strict, encoding):
    good, bad = (signed(an_lct(strict.now_ns()), encoding=encoding) for _ in range(2))
    bad.latent.payload[0] ^= 1
    array = LCTArray(lcts=[bad, good])
    ((lct,),) = [frame.lcts for frame in strict.verifier.frames(array, PUBLISHER)]
    assert lct.latent.mean == pytest.approx([1, 2, 0.5, -1], abs=0.1)


def test_empty_array_is_a_frame_only_if_signatures_are_not_required(strict, unsigned):
    header = Header(stamp=stamp_to_msg(unsigned.now_ns()), frame_id='lens')
    empty = LCTArray(header=header, camera='cam0')
    assert strict.verifier.frames(empty, PUBLISHER) == []
    (frame,) = unsigned.verifier.frames(empty, PUBLISHER)
    assert (frame.camera, frame.header, frame.lcts) == ('cam0', header, [])
    assert unsigned.verifier.frames(LCTArray(header=header), PUBLISHER) == [], 'of no camera'


def test_unsigned_lct_that_cannot_be_forwarded_is_malformed(unsigned):
    """Names are limited to 64 bytes, the fields of messages in Python to 64 characters."""
    message = lct_to_msg(an_lct(unsigned.now_ns()))
    message.provenance[0].entity_id = 'ü' * 40
    assert unsigned.accepted(message) == []
    assert unsigned.rejected() == {RejectionReason.MALFORMED: 1}
    good = lct_to_msg(an_lct(unsigned.now_ns()))
    assert unsigned.accepted(good) == [bytes(good.id)]


def test_flood_is_limited_and_logged_once_per_reason(strict, capfd):
    assert strict.accepted(signed(an_lct(strict.now_ns())), publisher=b'arbiter')
    for _ in range(20):
        strict.accepted(*[signed(an_lct(strict.now_ns()), UNKNOWN)] * 16)
    assert not strict.verifier.admits(PUBLISHER)
    rejected = strict.rejected()
    assert TokenBucket.BURST <= rejected[RejectionReason.BAD_SIGNATURE] < 320
    assert rejected[RejectionReason.RATE_LIMITED] > 0
    assert strict.accepted(signed(an_lct(strict.now_ns())), publisher=b'arbiter')
    log = capfd.readouterr().err
    assert (
        log.count("/under_test rejected an LCT on /trusted: invalid signature (entity 'cam0')")
        == 1
    )
    assert log.count('/under_test rejected an LCT on /trusted: rate limit exceeded') == 1


def test_empty_arrays_limit_only_publishers_that_were_never_accepted(strict):
    assert strict.accepted(signed(an_lct(strict.now_ns())), publisher=b'arbiter')
    for _ in range(300):
        strict.accepted(publisher=b'arbiter')
        strict.accepted(publisher=PUBLISHER)
    assert strict.verifier.admits(b'arbiter')
    assert not strict.verifier.admits(PUBLISHER)


class ReceiverOfTrusted(VerifyingNode):
    def setup(self):
        self.verifier = RelayedVerifier(
            self, 'trusted', TrustedKeys(self), {MODEL.fingerprint: PACKER}, 'arbiter'
        )


def relayed(node, *lcts, key=ARBITER, entity='arbiter', topic='trusted'):
    array = LCTArray(lcts=lcts)
    return sign_relay(array, Identity(entity, key), node.resolve_topic_name(topic))


@pytest.fixture
def receiver(ros, strict, tmp_path):
    arguments = ('-p', f'keys:={tmp_path}', '-p', 'require_signatures:=true')
    return ros.make(ReceiverOfTrusted, *arguments, name='receiver')


def test_lcts_that_are_copied_from_another_topic_are_rejected(receiver):
    lct = signed(an_lct(receiver.now_ns()))
    for copied in (
        LCTArray(lcts=[lct]),  # as on lcts, without a relay
        relayed(receiver, lct, topic='fused'),
        relayed(receiver, lct, key=CAMERA, entity='cam0'),
        relayed(receiver, lct, key=CAMERA),
        relayed(receiver, lct, key=UNKNOWN),
    ):
        assert receiver.verifier.frames(copied, PUBLISHER) == []
    assert receiver.rejected() == {
        RejectionReason.NOT_RELAYED: 1,
        RejectionReason.BAD_SIGNATURE: 3,
        RejectionReason.WRONG_RELAY: 1,
    }
    assert len(receiver.verifier.frames(relayed(receiver, lct), PUBLISHER)) == 1


def test_the_signature_of_a_relay_covers_all_fields_of_the_array(receiver):
    now = receiver.now_ns()

    def fresh():
        array = LCTArray(lcts=[signed(an_lct(now)), signed(an_lct(now))], camera='cam0')
        return sign_relay(array, Identity('arbiter', ARBITER), '/trusted')

    changes = (
        lambda a: a.lcts.pop(),
        lambda a: setattr(a, 'camera', 'cam1'),
        lambda a: setattr(a, 'source_width', 5),
        lambda a: setattr(a.header, 'frame_id', 'x'),
        lambda a: setattr(a.lcts[0].latent, 'track_id', 9),
    )
    for change in changes:
        array = fresh()
        change(array)
        assert receiver.verifier.frames(array, PUBLISHER) == []
    assert receiver.rejected() == {RejectionReason.BAD_SIGNATURE: len(changes)}


def test_arrays_of_the_same_process_need_no_relay(receiver):
    array = LCTArray(lcts=[signed(an_lct(receiver.now_ns()))])
    assert len(receiver.verifier.frames(array, ProcessId(b'x'))) == 1


def test_publishers_of_copied_arrays_are_limited(receiver):
    array = LCTArray(lcts=[signed(an_lct(receiver.now_ns()))])
    for _ in range(150):
        receiver.verifier.frames(array, PUBLISHER)
    assert not receiver.verifier.admits(PUBLISHER)


def test_signing_a_relay_leaves_the_received_message_as_it_was(strict):
    array = LCTArray(lcts=[signed(an_lct(strict.now_ns()))])
    copied = relayed(strict, *array.lcts)
    assert len(copied.relay) == 1
    assert sign_relay(array, Identity('arbiter'), '/trusted') is array
    assert sign_relay(array, Identity('arbiter', ARBITER), '/trusted') is not array
    assert len(array.relay) == 0
