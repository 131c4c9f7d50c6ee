# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The compressor as a process: cameras come and go, contexts and signed codes come out."""

import itertools
import time
from dataclasses import replace

import numpy as np
from sage_msgs.msg import Agreement, AgreementArray, HContext, LCTArray, SnarcArray, SnarcScore
from std_msgs.msg import Header

from sage_perception.bringup.graph import dual_camera
from sage_perception.cli import keys as keyring
from sage_perception.context.builder import ContextBuilder
from sage_perception.context.context import HContext as Context
from sage_perception.context.layout import BLOCKS
from sage_perception.context.space import LatentSpace
from sage_perception.core.latent import Latent, LatentKind, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation
from sage_perception.models import load
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.rejection import find_break, find_fault

NAMES = ('cam0', 'cam1', 'cam2')


class Cameras:
    """Speak as an arbiter passes it on, at moments of the tests' choice."""

    def __init__(self, graph, model):
        self.node, self.model = graph.ros.node, model
        self.trusted = self.node.create_publisher(LCTArray, 'trusted', 10)
        self.agreement = self.node.create_publisher(AgreementArray, 'agreement', 10)
        self.recall = self.node.create_publisher(LCTArray, 'recall', 10)
        self.snarc = self.node.create_publisher(SnarcArray, 'snarc', 10)
        for publisher in (self.trusted, self.agreement, self.recall, self.snarc):
            graph.wait_for(publisher.get_subscription_count, 'the compressor')
        graph.wait_for(lambda: 'compressor: context' in graph.health(), 'that it is under way')
        # Some seconds of the clock are tolerated either way: a slow machine comes later.
        self.begun = self.node.get_clock().now().nanoseconds + 1_500_000_000

    def lct(self, camera, stamp_ns, track=1, x=100):
        rng = np.random.default_rng(track)
        apart = rng.normal(size=64) * self.model.space_std * 0.3
        mean = (self.model.space_mean + apart).astype(np.float32)
        latent = Latent(
            mean,
            model=self.model.latents,
            roi=Roi(x, 50, 64, 64),
            track_id=track,
            telemetry=Telemetry(0.8, 0.01, 2.0, 4.0),
        )
        return LCT.encoded(latent, entity_id=camera, sequence=stamp_ns, stamp_ns=stamp_ns)

    def show(self, camera, after_ms, *lcts):
        stamp_ns = self.begun + after_ms * 1_000_000
        header = Header(stamp=stamp_to_msg(stamp_ns), frame_id=f'{camera}_lens')
        array = LCTArray(header=header, source_width=640, source_height=480, camera=camera)
        array.lcts = [lct_to_msg(lct) for lct in lcts]
        self.trusted.publish(array)

    def score(self, camera, lct, surprise):
        found = SnarcScore(track_id=lct.latent.track_id)
        found.snarc.surprise = surprise
        header = Header(stamp=stamp_to_msg(lct.stamp_ns), frame_id=f'{camera}_lens')
        self.snarc.publish(SnarcArray(header=header, scores=[found], camera=camera))


def value(message):
    mask = np.unpackbits(np.array(message.mask, np.uint8)).astype(bool)
    values = np.array(message.latent.mean, np.float32)
    return Context(values, mask, 0.0, tuple(message.cameras), layout=message.layout)


def test_contexts_of_cameras_that_come_and_go_are_compressed_and_signed(run_graph, tmp_path):
    keys = tmp_path / 'keys'
    assert keyring.main(['create', 'compressor', '--dir', str(keys)]) == 0
    (spec,) = (s for s in dual_camera(compressor=True) if s.name == 'compressor')
    spec.parameters.update(key=str(keys))
    graph = run_graph([spec])
    contexts = graph.collect(HContext, 'h_context')
    codes = graph.collect(LCTArray, 'l_latent')
    model = load('h_to_l_hybrid', backend='onnxruntime')
    cameras = Cameras(graph, model)
    graph.wait_for(lambda: graph.ros.node.count_publishers('h_context'), 'contexts')

    def seen(condition, what):
        return graph.wait_for(
            lambda: next((m for m in list(contexts) if condition(value(m))), None), what
        )

    def surprises(context):
        block = BLOCKS['logical.items']
        return block.rows(context.values)[:, block.fields.index('surprise')].tolist()

    def online(context):
        return context.rows('physical.cameras')[1][:, 0].nonzero()[0].tolist()

    # One camera, and a second that joins; what they agree on and what is recalled.
    first = cameras.lct('cam0', cameras.begun)
    cameras.show('cam0', 0, first)
    alone = value(seen(lambda c: c.items, 'a context'))
    assert online(alone) == [0]
    assert alone.cameras == ('cam0', 'cam1')
    second = cameras.lct('cam1', cameras.begun + 100_000_000)
    pair = Agreement(
        lct_a=np.frombuffer(first.id, np.uint8), lct_b=np.frombuffer(second.id, np.uint8)
    )
    pair.similarity = 0.9
    cameras.agreement.publish(
        AgreementArray(header=Header(stamp=stamp_to_msg(cameras.begun)), agreements=[pair])
    )
    cameras.recall.publish(LCTArray(lcts=[lct_to_msg(cameras.lct('memory', 1, track=5))]))
    shown = itertools.count(100, 10)

    def complete(context):
        recalled = context.mask[BLOCKS['semantic.recall'].where].any()
        return online(context) == [0, 1] and recalled and 0.75 in surprises(context)

    def told():
        # Again and again: what comes on other topics may come later.
        after_ms = next(shown)
        stamp_ns = cameras.begun + after_ms * 1_000_000
        cameras.show('cam1', after_ms, replace(second, stamp_ns=stamp_ns, sequence=stamp_ns))
        cameras.score('cam1', second, 0.75)
        time.sleep(0.1)
        return next((m for m in list(contexts) if complete(value(m))), None)

    message = graph.wait_for(told, 'two cameras and a memory')
    both = value(message)
    assert [item.agreement for item in both.items] == [np.float32(0.9)] * 2
    assert message.latent.kind == LatentKind.H_CONTEXT

    # It is what the core makes of the same.
    builder = ContextBuilder(
        LatentSpace.of(model.latents, model.space_mean, model.space_std), NAMES[:2]
    )
    builder.add_frame('cam0', cameras.begun * 1e-9, (640, 480), [first])
    builder.add_frame('cam1', cameras.begun * 1e-9 + 0.1, (640, 480), [second])
    ours = builder.build()
    place = BLOCKS['sensory.latents'].where
    assert np.array_equal(both.values[place], ours.values[place])

    # Its code answers for it.
    code = graph.wait_for(
        lambda: next((a for a in list(codes) if a.header == message.header), None), 'its code'
    ).lcts[0]
    said = lct_from_msg(code)
    assert said.latent.kind == LatentKind.L_CONTEXT
    wanted = model.compress(both.values[None], both.mask[None])[0]
    assert np.abs(said.latent.mean - wanted).max() < 1e-4
    assert find_fault(said, 256) is None
    assert find_break(said) is None
    assert [step.operation for step in said.provenance] == [Operation.ENCODE] + [
        Operation.COMPRESS
    ] * 2
    assert {step.parent_id for step in said.provenance[1:]} == {first.id, second.id}
    assert 0 < said.trust <= 0.8
    assert verify(said, TrustStore(keys)) is None

    # The first leaves, a third that nobody announced joins, and one that shows nothing stays.
    cameras.show('cam1', 2900)
    cameras.show('cam2', 3000, cameras.lct('cam2', cameras.begun + 3_000_000_000, track=3))
    third = value(seen(lambda c: 2 in online(c), 'a third camera'))
    assert third.cameras == NAMES
    assert online(third) in ([1, 2], [2])
    assert [item.camera for item in third.items] == [2]

    # What belongs into no context is counted and leaves the node alive.
    stranger = cameras.lct('cam0', cameras.begun + 3_100_000_000)
    wrong = lct_to_msg(stranger)
    wrong.latent.model.fingerprint = np.zeros(32, np.uint8)
    header = Header(stamp=stamp_to_msg(cameras.begun + 3_100_000_000))
    cameras.trusted.publish(
        LCTArray(header=header, source_width=640, source_height=480, lcts=[wrong])
    )
    graph.wait_for(
        lambda: (
            (belief := graph.health().get('compressor: belief in trusted'))
            and ('refused: wrong fingerprint', '1') in [(v.key, v.value) for v in belief.values]
        ),
        'the refusal in the diagnostics',
    )
