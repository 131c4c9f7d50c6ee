# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What is believed of LCTs that others hand on, whatever the array around them says."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import LCT, Operation, Provenance, chain_trust, step_from
from sage_perception.ros.conversions.lcts import lct_to_msg, packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.endpoints import Node
from sage_perception.ros.identity import KEYS, REQUIRE_SIGNATURES, TrustedKeys
from sage_perception.ros.relayed import LCTRejected, RelayedVerifier
from sage_perception.trust import TrustStore
from sage_perception.trust.security.admission import TokenBucket
from sage_perception.trust.security.keys import public_bytes

MODEL = ModelId('m', '1', bytes(range(32)))
PACKER = Packer(np.zeros(4, np.float32), np.ones(4, np.float32))
CAMERA, ARBITER, STRANGER = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3)
)
SECOND = 10**9
ANYBODY = b'anybody'


class Hearer(Node):
    PARAMETERS = (REQUIRE_SIGNATURES, KEYS)

    def __init__(self, **options):
        super().__init__('hearer', **options)

    def setup(self):
        self.hearsay = RelayedVerifier(
            self, 'trusted', TrustedKeys(self), {MODEL.fingerprint: PACKER}
        )

    def now_ns(self):
        return self.get_clock().now().nanoseconds

    def believed(self, *lcts, publisher=ANYBODY, **fields):
        """Return the ids of what is believed of an array."""
        frames = self.hearsay.frames(LCTArray(lcts=lcts, **fields), publisher)
        return [lct.id for frame in frames for lct in frame.lcts]

    def refused(self):
        """Return how many were refused, by reason."""
        return {reason.value: n for reason, n in self.hearsay._screen.reasons.items()}


@pytest.fixture
def strict(ros, tmp_path):
    """Give a node that wants signatures; `cam0` and `arbiter` have keys."""
    store = TrustStore(tmp_path)
    store.trust('cam0', public_bytes(CAMERA))
    store.trust('arbiter', public_bytes(ARBITER))
    return ros.make(Hearer, '-p', f'keys:={tmp_path}', '-p', 'require_signatures:=true')


@pytest.fixture
def easy(ros):
    """Give a node that believes what nobody signs."""
    return ros.make(Hearer)


_numbers = iter(range(1, 10**6))


def an_lct(stamp_ns, **changes):
    latent = Latent(np.float32([1, 2, 0.5, -1]), model=MODEL)
    step = Provenance(Operation.ENCODE, 'cam0', MODEL, trust=0.5)
    return replace(LCT('cam0', next(_numbers), stamp_ns, latent, (step,), 0.5), **changes)


def signed(lct, key=CAMERA, form=Encoding.FLOAT32):
    return lct_to_msg(lct, form, PACKER, key)


def longer(lct, steps):
    more = [Provenance(Operation.RELAY, 'cam0', MODEL, bytes([n]) * 16) for n in range(1, steps)]
    return replace(lct, provenance=(*lct.provenance, *more))


def test_stamp_and_camera_are_those_that_were_signed(strict):
    now = strict.now_ns()
    said, _ = packed_lct_from_msg(signed(an_lct(now)))
    chain = (*said.provenance, step_from(said, Operation.TRANSLATE, 'arbiter', MODEL))
    ours = LCT('arbiter', 1, now, said.latent, chain, chain_trust(chain))
    later = Header(stamp=stamp_to_msg(now + 1000 * SECOND), frame_id='lens')
    array = LCTArray(header=later, camera='cam7', source_width=640, source_height=480)
    for number, lct in enumerate((signed(an_lct(now)), signed(ours, ARBITER))):
        array.lcts = [lct]
        (frame,) = strict.hearsay.frames(array, ANYBODY)
        assert (frame.camera, frame.stamp_ns) == ('cam0', now), number
        assert frame.header == Header(stamp=stamp_to_msg(now), frame_id='lens')
        assert frame.size == (640, 480)
        assert [lct.id for lct in frame.lcts] == [bytes(lct.id)]


def test_of_an_array_each_lct_is_judged_by_itself(strict):
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
        signed(an_lct(now), STRANGER),
        lct_to_msg(an_lct(now)),
        signed(an_lct(now, latent=another)),
        signed(longer(an_lct(now), 14)),
        signed(an_lct(now - 60 * SECOND)),
        signed(good),
    ]
    assert strict.believed(*array) == [good.id]
    assert strict.refused() == {
        'malformed': 1,
        'bad signature': 2,
        'unsigned': 1,
        'wrong fingerprint': 1,
        'out of range': 1,
        'stamp outside tolerance': 1,
    }


def test_what_was_heard_is_not_believed_again_unless_it_is_asked_about(strict):
    first, second = (signed(an_lct(strict.now_ns())) for _ in range(2))
    assert strict.believed(second) == [bytes(second.id)]
    assert strict.believed(second) == strict.believed(first) == []
    assert strict.refused() == {'replayed or old sequence': 2}
    assert strict.hearsay.vouched(first).id == bytes(first.id)
    old = signed(an_lct(1))
    assert strict.hearsay.vouched(old).id == strict.hearsay.vouched(old).id == bytes(old.id)
    with pytest.raises(LCTRejected, match='unsigned'):
        strict.hearsay.vouched(lct_to_msg(an_lct(1)))


@pytest.mark.parametrize('form', [Encoding.FLOAT16, Encoding.INT8])
def test_what_travels_packed_is_unpacked_if_it_is_believed(strict, form):
    good, bad = (signed(an_lct(strict.now_ns()), form=form) for _ in range(2))
    bad.latent.payload[0] ^= 1
    array = LCTArray(lcts=[bad, good])
    ((lct,),) = [frame.lcts for frame in strict.hearsay.frames(array, ANYBODY)]
    assert lct.latent.mean == pytest.approx([1, 2, 0.5, -1], abs=0.1)


def test_an_array_of_nothing_says_something_only_where_nobody_need_sign(strict, ros):
    easy = ros.make(Hearer, name='easy')
    header = Header(stamp=stamp_to_msg(easy.now_ns()), frame_id='lens')
    nothing = LCTArray(header=header, camera='cam0')
    assert strict.hearsay.frames(nothing, ANYBODY) == []
    (frame,) = easy.hearsay.frames(nothing, ANYBODY)
    assert (frame.camera, frame.header, frame.lcts) == ('cam0', header, [])
    assert easy.hearsay.frames(LCTArray(header=header), ANYBODY) == [], 'nobody says whose'


def test_what_no_message_can_hold_is_refused_though_nobody_need_sign(easy):
    message = lct_to_msg(an_lct(easy.now_ns()))
    message.provenance[0].entity_id = 'ü' * 40
    assert easy.believed(message) == []
    assert easy.refused() == {'malformed': 1}


def test_a_flood_of_a_stranger_is_left_unread_and_warned_of_once_for_each_reason(strict, capfd):
    assert strict.believed(signed(an_lct(strict.now_ns())), publisher=b'arbiter')
    for _ in range(20):
        strict.believed(*[signed(an_lct(strict.now_ns()), STRANGER)] * 16)
    assert not strict.hearsay.admits(ANYBODY)
    refused = strict.refused()
    assert TokenBucket.BURST <= refused['bad signature'] < 320
    assert refused['flood'] > 0
    assert strict.believed(signed(an_lct(strict.now_ns())), publisher=b'arbiter')
    warnings = capfd.readouterr().err
    assert warnings.count('refused an LCT of topic trusted: bad signature, said in the name') == 1
    assert warnings.count('refused an LCT of topic trusted: flood') == 1


def test_arrays_of_nothing_count_against_strangers_alone(strict):
    assert strict.believed(signed(an_lct(strict.now_ns())), publisher=b'arbiter')
    for _ in range(300):
        strict.believed(publisher=b'arbiter')
        strict.believed(publisher=ANYBODY)
    assert strict.hearsay.admits(b'arbiter')
    assert not strict.hearsay.admits(ANYBODY)
