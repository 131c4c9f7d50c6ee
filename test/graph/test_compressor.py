# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The compressor node as a process: contexts and signed codes of cameras that join and leave."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from sage_msgs.msg import Agreement, AgreementArray, HContext, LCTArray, SnarcArray, SnarcScore
from std_msgs.msg import Header

from sage_perception.bringup.graph import dual_camera
from sage_perception.cli import keys
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
from sage_perception.trust.security.validation import find_chain_fault, find_fault

NAMES = ('cam0', 'cam1', 'cam2')


class Cameras:
    """Publishers of an arbiter and a memory, with stamps of the tests' choice."""

    def __init__(self, graph, model):
        self.node, self.model = graph.ros.node, model
        self.trusted = self.node.create_publisher(LCTArray, 'trusted', 10)
        self.agreement = self.node.create_publisher(AgreementArray, 'agreement', 10)
        self.recall = self.node.create_publisher(LCTArray, 'recall', 10)
        self.snarc = self.node.create_publisher(SnarcArray, 'snarc', 10)
        for publisher in (self.trusted, self.agreement, self.recall, self.snarc):
            graph.wait_for(publisher.get_subscription_count, 'the compressor')
        graph.wait_for(lambda: 'compressor: context' in graph.health(), 'its diagnostics')
        self.start_ns = self.node.get_clock().now().nanoseconds

    def lct(self, camera, stamp_ns, track=1, x=100):
        rng = np.random.default_rng(track)
        offset = rng.normal(size=64) * self.model.space_std * 0.3
        mean = (self.model.space_mean + offset).astype(np.float32)
        latent = Latent(
            mean,
            model=self.model.latents,
            roi=Roi(x, 50, 64, 64),
            track_id=track,
            telemetry=Telemetry(0.8, 0.01, 2.0, 4.0),
        )
        return LCT.encoded(latent, entity_id=camera, sequence=stamp_ns, stamp_ns=stamp_ns)

    def publish(self, camera, after_ms, *lcts):
        """Publish LCTs once their time has come: frames ahead of the clock are rejected."""
        stamp_ns = self.start_ns + after_ms * 1_000_000
        time.sleep(max(stamp_ns - self.node.get_clock().now().nanoseconds, 0) * 1e-9)
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


def surprises(context):
    block = BLOCKS['logical.items']
    return block.rows(context.values)[:, block.fields.index('surprise')].tolist()


def online(context):
    return context.rows('physical.cameras')[1][:, 0].nonzero()[0].tolist()


@pytest.fixture(scope='module')
def model():
    return load('h_to_l_hybrid', backend='onnxruntime')


@pytest.fixture
def keys_dir(tmp_path):
    path = tmp_path / 'keys'
    assert keys.main(['create', 'compressor', '--dir', str(path)]) == 0
    return path


class Compressor:
    """A graph of one signing compressor, and what it publishes."""

    def __init__(self, run_graph, keys_dir, model):
        (spec,) = (s for s in dual_camera(compressor=True) if s.name == 'compressor')
        spec.parameters.update(key=str(keys_dir))
        self.graph = run_graph([spec])
        self.contexts = self.graph.collect(HContext, 'h_context')
        self.codes = self.graph.collect(LCTArray, 'l_latent')
        self.cameras = Cameras(self.graph, model)
        ros = self.graph.ros
        self.graph.wait_for(lambda: ros.node.count_publishers('h_context'), 'contexts')

    def find(self, condition):
        """Return a message with a context that fulfills a condition, None while there is none."""
        return next((m for m in list(self.contexts) if condition(value(m))), None)

    def wait_for(self, condition, what):
        return self.graph.wait_for(lambda: self.find(condition), what)

    def code_of(self, message):
        """Return the code of a context as an LCT."""
        array = self.graph.wait_for(
            lambda: next((a for a in list(self.codes) if a.header == message.header), None),
            'the code',
        )
        return lct_from_msg(array.lcts[0])


@pytest.fixture
def compressor(run_graph, keys_dir, model):
    return Compressor(run_graph, keys_dir, model)


def test_a_code_is_signed_and_names_the_lcts_of_its_context(compressor, keys_dir, model):
    cameras = compressor.cameras
    start_ns = cameras.start_ns
    first = cameras.lct('cam0', start_ns)
    cameras.publish('cam0', 0, first)
    alone = value(compressor.wait_for(lambda c: c.items, 'a context'))
    assert online(alone) == [0]
    assert alone.cameras == ('cam0', 'cam1')

    # A second camera joins, with agreement, a recall, and scores.
    second = cameras.lct('cam1', start_ns + 100_000_000)
    pair = Agreement(
        lct_a=np.frombuffer(first.id, np.uint8), lct_b=np.frombuffer(second.id, np.uint8)
    )
    pair.similarity = 0.9
    cameras.agreement.publish(
        AgreementArray(header=Header(stamp=stamp_to_msg(start_ns)), agreements=[pair])
    )
    cameras.recall.publish(LCTArray(lcts=[lct_to_msg(cameras.lct('memory', 1, track=5))]))
    delays_ms = itertools.count(100, 10)

    def complete(context):
        recalled = context.mask[BLOCKS['semantic.recall'].where].any()
        return online(context) == [0, 1] and recalled and 0.75 in surprises(context)

    def published():
        # Messages on different topics may arrive in any order: publish until all are in.
        delay_ms = next(delays_ms)
        stamp_ns = start_ns + delay_ms * 1_000_000
        cameras.publish('cam1', delay_ms, replace(second, stamp_ns=stamp_ns, sequence=stamp_ns))
        cameras.score('cam1', second, 0.75)
        time.sleep(0.1)
        return compressor.find(complete)

    message = compressor.graph.wait_for(published, 'two cameras and a memory')
    context = value(message)
    assert [item.agreement for item in context.items] == [np.float32(0.9)] * 2
    assert message.latent.kind == LatentKind.H_CONTEXT

    # The core builds the same context.
    space = LatentSpace.of(model.latents, model.space_mean, model.space_std)
    builder = ContextBuilder(space, NAMES[:2])
    builder.add_frame('cam0', start_ns * 1e-9, (640, 480), [first])
    builder.add_frame('cam1', start_ns * 1e-9 + 0.1, (640, 480), [second])
    place = BLOCKS['sensory.latents'].where
    assert np.array_equal(context.values[place], builder.build().values[place])

    code = compressor.code_of(message)
    assert code.latent.kind == LatentKind.L_CONTEXT
    expected = model.compress(context.values[None], context.mask[None])[0]
    assert np.abs(code.latent.mean - expected).max() < 1e-4
    assert find_fault(code, 256) is None
    assert find_chain_fault(code) is None
    operations = [step.operation for step in code.provenance]
    assert operations == [Operation.ENCODE] + [Operation.COMPRESS] * 2
    assert {step.parent_id for step in code.provenance[1:]} == {first.id, second.id}
    assert 0 < code.trust <= 0.8
    assert verify(code, TrustStore(keys_dir)) is None


def test_cameras_join_and_leave_and_invalid_latents_are_rejected(compressor):
    cameras = compressor.cameras
    cameras.publish('cam0', 0, cameras.lct('cam0', cameras.start_ns))
    compressor.wait_for(lambda c: c.items, 'a context')
    # The first camera leaves, an unlisted one joins, and one stays online without crops.
    cameras.publish('cam1', 2900)
    cameras.publish('cam2', 3000, cameras.lct('cam2', cameras.start_ns + 3_000_000_000, track=3))
    context = value(compressor.wait_for(lambda c: 2 in online(c), 'a third camera'))
    assert context.cameras == NAMES
    assert online(context) in ([1, 2], [2])
    assert [item.camera for item in context.items] == [2]

    # A latent of another model is rejected and counted; the next honest one is accepted.
    stamp_ns = cameras.start_ns + 3_100_000_000
    invalid = lct_to_msg(cameras.lct('cam0', stamp_ns))
    invalid.latent.model.fingerprint = np.zeros(32, np.uint8)
    header = Header(stamp=stamp_to_msg(stamp_ns))
    cameras.trusted.publish(
        LCTArray(header=header, source_width=640, source_height=480, lcts=[invalid])
    )
    compressor.graph.wait_for(
        lambda: any(
            'fingerprint mismatch' in pair.key and pair.value == '1'
            for name, status in compressor.graph.health().items()
            if name.startswith('compressor: ') and name.endswith('trusted')
            for pair in status.values
        ),
        'the rejection in the diagnostics',
    )
    cameras.publish('cam0', 3200, cameras.lct('cam0', cameras.start_ns + 3_200_000_000, track=4))
    compressor.wait_for(lambda c: {0, 2} <= set(online(c)), 'the first camera again')
