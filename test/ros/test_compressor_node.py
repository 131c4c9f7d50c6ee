# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The compressor node: verification, camera slots, and stamps of contexts and codes."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray
from sage_msgs.msg import HContext, LCTArray, SnarcArray
from std_msgs.msg import Header

from sage_perception.cli import keys
from sage_perception.context.context import HContext as Context
from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import MemoryRecord, Snarc, recalled_lct
from sage_perception.models import load_compressor
from sage_perception.nodes.compressor_node import CompressorNode
from sage_perception.ros.conversions.lcts import lct_to_msg, packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.message_form import sign_message, sign_relay
from sage_perception.trust import TrustStore, sign, verify
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key
from sage_perception.trust.security.limits import MAX_STEPS
from sage_perception.trust.security.rejection import RejectionReason

SECOND = 10**9
UNTRUSTED_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)


@pytest.fixture(scope='module')
def model():
    return load_compressor('h_to_l_hybrid', backend='onnxruntime')


class Arbiter:
    """Publishes to a compressor node as an arbiter does, and as an attacker could."""

    def __init__(self, ros, model, *arguments):
        self.ros, self.model, self.sequence = ros, model, 0
        self.identity = Identity('arbiter')
        self.node = ros.make(CompressorNode, '-p', 'rate:=30.0', *arguments)
        self.trusted = ros.node.create_publisher(LCTArray, 'trusted', 10)
        self.contexts = ros.collect(HContext, 'h_context')
        self.codes = ros.collect(LCTArray, 'l_latent')
        ros.wait_for(self.trusted.get_subscription_count, 'the compressor')
        for topic in ('h_context', 'l_latent'):
            ros.wait_for(
                lambda t=topic: self.node.count_subscribers(t), f'a subscriber of {topic}'
            )

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def lct(self, entity, stamp_ns, track=1):
        self.sequence += 1
        latent = Latent(
            self.model.space_mean + np.float32(0.1 * track),
            model=self.model.latents,
            roi=Roi(60, 50, 64, 64),
            track_id=track,
            telemetry=Telemetry(0.8, 0.01, 2.0, 4.0),
        )
        return LCT.encoded(latent, entity_id=entity, sequence=self.sequence, stamp_ns=stamp_ns)

    def publish(self, *messages, stamp_ns=None, frame_id='lens', camera=''):
        header = Header(stamp=stamp_to_msg(self.now_ns() if stamp_ns is None else stamp_ns))
        header.frame_id = frame_id
        array = LCTArray(
            header=header, source_width=640, source_height=480, lcts=messages, camera=camera
        )
        self.trusted.publish(sign_relay(array, self.identity, '/trusted'))

    def wait_for_context(self, condition, what):
        """Wait for a context that fulfills a condition; return its message."""
        return self.ros.wait_for(
            lambda: next((m for m in list(self.contexts) if condition(value(m))), None), what
        )


def value(message):
    mask = np.unpackbits(np.array(message.mask, np.uint8)).astype(bool)
    values = np.array(message.latent.mean, np.float32)
    return Context(values, mask, 0.0, tuple(message.cameras), layout=message.layout)


def code_with(codes, steps):
    """Return a code with so many provenance steps, None while there is none."""
    lcts = (lct for array in list(codes) for lct in array.lcts)
    return next((lct for lct in lcts if len(lct.provenance) == steps), None)


def online(context):
    return context.rows('physical.cameras')[1][:, 0].nonzero()[0].tolist()


@pytest.fixture
def keys_dir(tmp_path):
    """Return a folder with the keys of cam0, memory, and the node under test."""
    path = tmp_path / 'keys'
    assert (
        keys.main(['create', 'arbiter', 'cam0', 'memory', 'under_test', '--dir', str(path)]) == 0
    )
    return path


def required(keys_dir):
    return ('-p', f'keys:={keys_dir}', '-p', 'require_signatures:=true')


def test_slots_belong_to_the_entities_of_the_cameras(ros, model):
    arbiter = Arbiter(ros, model, '-p', 'camera_entities:=cam0=robot2/eye')
    now = arbiter.now_ns()
    # Two drivers with the same frame_id, and one camera without crops.
    arbiter.publish(lct_to_msg(arbiter.lct('cam1', now)), frame_id='camera')
    arbiter.publish(lct_to_msg(arbiter.lct('robot2/eye', now, 2)), frame_id='camera')
    arbiter.publish(stamp_ns=now, frame_id='camera', camera='cam9')
    context = value(arbiter.wait_for_context(lambda c: online(c) == [0, 1, 2], 'all three'))
    assert context.cameras == ('robot2/eye', 'cam1', 'cam9')
    assert sorted(item.camera for item in context.items) == [0, 1]


def test_contexts_and_codes_have_the_exact_stamp_of_the_newest_frame(ros, model):
    arbiter = Arbiter(ros, model)
    odd = arbiter.now_ns() // SECOND * SECOND + 123_456_789
    assert round(odd * 1e-9 * 1e9) != odd, 'seconds in float64 are not exact'
    arbiter.publish(
        lct_to_msg(arbiter.lct('cam0', odd)), stamp_ns=odd + 1000 * SECOND, frame_id='left'
    )
    context = arbiter.wait_for_context(lambda c: c.items, 'a context')
    assert context.header == Header(stamp=stamp_to_msg(odd), frame_id='left')
    code = ros.wait_for(lambda: arbiter.codes and arbiter.codes[-1], 'its code')
    assert code.header == context.header
    assert stamp_from_msg(code.lcts[0].stamp) == odd


def test_an_unreadable_lct_does_not_affect_the_others_of_its_frame(ros, model):
    arbiter = Arbiter(ros, model)
    now = arbiter.now_ns()
    unreadable, endless = (lct_to_msg(arbiter.lct('cam0', now, track)) for track in (1, 2))
    unreadable.latent.kind = 200
    endless.provenance = endless.provenance * MAX_STEPS
    arbiter.publish(unreadable, endless, lct_to_msg(arbiter.lct('cam0', now, 3)))
    context = value(arbiter.wait_for_context(lambda c: c.items, 'a context'))
    assert len(context.items) == 1


def test_required_signatures_exclude_forged_replayed_and_unsigned_lcts(ros, model, keys_dir):
    arbiter = Arbiter(ros, model, '-p', f'key:={keys_dir}', *required(keys_dir))
    arbiter.identity.key = load_key(keys_dir, 'arbiter')
    now, key = arbiter.now_ns(), load_key(keys_dir, 'cam0')
    honest = arbiter.lct('cam0', now)
    arbiter.publish(lct_to_msg(honest, key=key))
    arbiter.wait_for_context(lambda c: c.items, 'the signed LCT')
    forged = replace(arbiter.lct('cam0', now + 1, 2), sequence=honest.sequence + 9)
    arbiter.publish(lct_to_msg(forged, key=UNTRUSTED_KEY), lct_to_msg(forged))
    arbiter.publish(lct_to_msg(honest, key=key))
    arbiter.publish(stamp_ns=now + 1000 * SECOND, camera='cam0')
    last = arbiter.lct('cam0', now + 2, 3)
    arbiter.publish(lct_to_msg(last, key=key))
    context = value(arbiter.wait_for_context(lambda c: len(c.items) == 2, 'both signed LCTs'))
    assert online(context) == [0]
    message = ros.wait_for(lambda: code_with(arbiter.codes, 3), 'the code of both')
    code, _ = packed_lct_from_msg(message)
    assert {step.parent_id for step in code.provenance[1:]} == {honest.id, last.id}
    assert verify(code, TrustStore(keys_dir)) is None
    assert code.stamp_ns == last.stamp_ns


def test_required_signatures_exclude_recalls_of_unsigned_lcts_and_other_entities(
    ros, model, keys_dir
):
    health = ros.collect(DiagnosticArray, '/diagnostics')
    arbiter = Arbiter(ros, model, *required(keys_dir))
    arbiter.identity.key = load_key(keys_dir, 'arbiter')
    camera, memory = (load_key(keys_dir, name) for name in ('cam0', 'memory'))
    recall = ros.node.create_publisher(LCTArray, 'recall', 10)
    ros.wait_for(recall.get_subscription_count, 'the compressor')

    def rejected():
        """Return the number of rejected recalls, from diagnostics."""
        counts = [0]
        for status in (s for array in list(health) for s in array.status):
            if status.name.endswith('recall'):
                values = {pair.key: pair.value for pair in status.values}
                counts.append(int(values['rejected']))
        return max(counts)

    def message(lct, sequence):
        return lct_to_msg(recalled_lct(MemoryRecord(lct, Snarc()), 'memory', sequence), key=memory)

    past = [arbiter.lct('cam0', n * SECOND, n) for n in (1, 2, 3)]
    signed = [message(sign(lct, camera), n) for n, lct in enumerate(past[:2])]

    def publish(*lcts, entity='memory', key=memory):
        recall.publish(sign_relay(LCTArray(lcts=lcts), Identity(entity, key), '/recall'))

    publish(*signed, message(past[2], 2))
    publish(message(past[2], 3))
    publish()
    ros.wait_for(lambda: rejected() == 2, 'the rejection of both')
    # Copies of what the memory has signed, and what another trusted entity signs.
    others = [message(sign(past[2], camera), n) for n in (3, 4, 5)]
    recall.publish(LCTArray(lcts=[others[0]]))
    publish(others[1], entity='cam0', key=camera)
    publish(others[2], key=camera)
    ros.wait_for(lambda: rejected() == 5, 'the rejection of recalls of others')
    arbiter.publish(lct_to_msg(arbiter.lct('cam0', arbiter.now_ns()), key=camera))
    context = value(arbiter.wait_for_context(lambda c: c.items, 'a context'))
    assert context.rows('semantic.recall')[1].any(axis=1).sum() == 2


def test_only_the_memory_scores_if_signatures_are_required(ros, keys_dir):
    node = ros.make(CompressorNode, *required(keys_dir))
    scores = node._scores

    def give(entity):
        stamp = stamp_to_msg(node.get_clock().now().nanoseconds)
        message = SnarcArray(header=Header(stamp=stamp), camera='cam0')
        scores._receive(
            sign_message(message, Identity(entity, load_key(keys_dir, entity))), b'gid'
        )

    give('memory')
    assert scores.reasons.total() == 0
    give('cam0')
    assert scores.reasons == {RejectionReason.WRONG_ENTITY: 1}
