# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whom the compressor node believes, whose camera it takes a frame for, and at which time."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import HContext, LCTArray
from std_msgs.msg import Header

from sage_perception.cli import keys as keyring
from sage_perception.context.context import HContext as Context
from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import MemoryRecord, Snarc, recalled_lct
from sage_perception.models import load_compressor
from sage_perception.nodes.compressor_node import CompressorNode
from sage_perception.ros.conversions.lcts import lct_to_msg, packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.trust import TrustStore, sign, verify
from sage_perception.trust.security.keys import load_key
from sage_perception.trust.security.rejection import MAX_STEPS

SECOND = 10**9
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)


@pytest.fixture(scope='module')
def model():
    return load_compressor('h_to_l_hybrid', backend='onnxruntime')


class Arbiter:
    """Speaks to a compressor as an arbiter does, and as anybody else could."""

    def __init__(self, ros, model, *arguments):
        self.ros, self.model, self.number = ros, model, 0
        self.node = ros.make(CompressorNode, '-p', 'rate:=30.0', *arguments)
        self.trusted = ros.node.create_publisher(LCTArray, 'trusted', 10)
        self.contexts = ros.collect(HContext, 'h_context')
        self.codes = ros.collect(LCTArray, 'l_latent')
        ros.wait_for(self.trusted.get_subscription_count, 'the compressor')
        ros.wait_for(self.node._contexts.get_subscription_count, 'that it knows us')
        ros.wait_for(self.node._codes.get_subscription_count, 'that it knows us')

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def lct(self, entity, stamp_ns, track=1):
        self.number += 1
        latent = Latent(
            self.model.space_mean + np.float32(0.1 * track),
            model=self.model.latents,
            roi=Roi(60, 50, 64, 64),
            track_id=track,
            telemetry=Telemetry(0.8, 0.01, 2.0, 4.0),
        )
        return LCT.encoded(latent, entity_id=entity, sequence=self.number, stamp_ns=stamp_ns)

    def show(self, *messages, stamp_ns=None, frame_id='lens', camera=''):
        header = Header(stamp=stamp_to_msg(self.now_ns() if stamp_ns is None else stamp_ns))
        header.frame_id = frame_id
        self.trusted.publish(
            LCTArray(
                header=header, source_width=640, source_height=480, lcts=messages, camera=camera
            )
        )

    def sees(self, condition, what):
        """Wait for a context; return its message."""
        return self.ros.wait_for(
            lambda: next((m for m in list(self.contexts) if condition(value(m))), None), what
        )


def value(message):
    mask = np.unpackbits(np.array(message.mask, np.uint8)).astype(bool)
    values = np.array(message.latent.mean, np.float32)
    return Context(values, mask, 0.0, tuple(message.cameras), layout=message.layout)


def of_length(codes, steps):
    """Return a code with a chain of so many steps, None while there is none."""
    lcts = (lct for array in list(codes) for lct in array.lcts)
    return next((lct for lct in lcts if len(lct.provenance) == steps), None)


def online(context):
    return context.rows('physical.cameras')[1][:, 0].nonzero()[0].tolist()


def test_cameras_are_told_apart_by_who_speaks_for_them_and_keep_the_slots_they_were_given(
    ros, model
):
    arbiter = Arbiter(ros, model, '-p', 'camera_entities:=cam0=robot2/eye')
    now = arbiter.now_ns()
    # Two drivers that call their frames alike, and one camera that sees nothing.
    arbiter.show(lct_to_msg(arbiter.lct('cam1', now)), frame_id='camera')
    arbiter.show(lct_to_msg(arbiter.lct('robot2/eye', now, 2)), frame_id='camera')
    arbiter.show(stamp_ns=now, frame_id='camera', camera='cam9')
    context = value(arbiter.sees(lambda c: online(c) == [0, 1, 2], 'all three'))
    assert context.cameras == ('robot2/eye', 'cam1', 'cam9')
    assert sorted(item.camera for item in context.items) == [0, 1]


def test_contexts_and_codes_have_the_very_stamp_of_the_newest_frame(ros, model):
    arbiter = Arbiter(ros, model)
    odd = arbiter.now_ns() // SECOND * SECOND + 123_456_789
    assert round(odd * 1e-9 * 1e9) != odd, 'seconds in float64 cannot tell it'
    arbiter.show(
        lct_to_msg(arbiter.lct('cam0', odd)), stamp_ns=odd + 1000 * SECOND, frame_id='left'
    )
    context = arbiter.sees(lambda c: c.items, 'a context')
    assert context.header == Header(stamp=stamp_to_msg(odd), frame_id='left')
    code = ros.wait_for(lambda: arbiter.codes and arbiter.codes[-1], 'its code')
    assert code.header == context.header
    assert stamp_from_msg(code.lcts[0].stamp) == odd


def test_one_lct_that_cannot_be_read_takes_nothing_from_the_others_of_its_frame(ros, model):
    arbiter = Arbiter(ros, model)
    now = arbiter.now_ns()
    unreadable, endless = (lct_to_msg(arbiter.lct('cam0', now, track)) for track in (1, 2))
    unreadable.latent.kind = 200
    endless.provenance = endless.provenance * MAX_STEPS
    arbiter.show(unreadable, endless, lct_to_msg(arbiter.lct('cam0', now, 3)))
    context = value(arbiter.sees(lambda c: c.items, 'a context'))
    assert len(context.items) == 1


def test_where_signatures_are_required_nobody_else_has_a_say_in_what_it_signs(
    ros, model, tmp_path
):
    keys = tmp_path / 'keys'
    assert keyring.main(['create', 'cam0', 'under_test', '--dir', str(keys)]) == 0
    required = ('-p', f'key:={keys}', '-p', f'keys:={keys}', '-p', 'require_signatures:=true')
    arbiter = Arbiter(ros, model, *required)
    now, key = arbiter.now_ns(), load_key(keys, 'cam0')
    honest = arbiter.lct('cam0', now)
    arbiter.show(lct_to_msg(honest, key=key))
    arbiter.sees(lambda c: c.items, 'what is signed')
    forged = replace(arbiter.lct('cam0', now + 1, 2), sequence=honest.sequence + 9)
    arbiter.show(lct_to_msg(forged, key=STRANGER), lct_to_msg(forged))
    arbiter.show(lct_to_msg(honest, key=key))
    arbiter.show(stamp_ns=now + 1000 * SECOND, camera='cam0')
    last = arbiter.lct('cam0', now + 2, 3)
    arbiter.show(lct_to_msg(last, key=key))
    context = value(arbiter.sees(lambda c: len(c.items) == 2, 'all that is signed'))
    assert online(context) == [0]
    both = ros.wait_for(lambda: of_length(arbiter.codes, 3), 'the code of both')
    said, _ = packed_lct_from_msg(both)
    assert {step.parent_id for step in said.provenance[1:]} == {honest.id, last.id}
    assert verify(said, TrustStore(keys)) is None
    assert said.stamp_ns == last.stamp_ns


def test_where_signatures_are_required_memory_proves_what_it_recalls(ros, model, tmp_path):
    keys = tmp_path / 'keys'
    assert keyring.main(['create', 'cam0', 'memory', '--dir', str(keys)]) == 0
    arbiter = Arbiter(ros, model, '-p', f'keys:={keys}', '-p', 'require_signatures:=true')
    camera, memory = (load_key(keys, name) for name in ('cam0', 'memory'))
    recall = ros.node.create_publisher(LCTArray, 'recall', 10)
    ros.wait_for(recall.get_subscription_count, 'the compressor')

    def recalls(lct, number):
        said = recalled_lct(MemoryRecord(lct, Snarc()), 'memory', number)
        return lct_to_msg(said, key=memory)

    past = [arbiter.lct('cam0', n * SECOND, n) for n in (1, 2, 3)]
    good = [recalls(sign(lct, camera), n) for n, lct in enumerate(past[:2])]
    recall.publish(LCTArray(lcts=[*good, recalls(past[2], 2)]))
    recall.publish(LCTArray(lcts=[recalls(past[2], 3)]))
    recall.publish(LCTArray())
    ros.wait_for(lambda: arbiter.node._recalled._screen.refused == 2, 'what nobody saw')
    arbiter.show(lct_to_msg(arbiter.lct('cam0', arbiter.now_ns()), key=camera))
    context = value(arbiter.sees(lambda c: c.items, 'a context'))
    assert context.rows('semantic.recall')[1].any(axis=1).sum() == 2
