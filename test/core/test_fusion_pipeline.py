# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Accepted LCTs reach the arbiter, memory and the contexts."""

import numpy as np
import pytest

from sage_perception.context.builder import ContextBuilder
from sage_perception.context.space import LatentSpace
from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import EpisodicMemory
from sage_perception.memory.feed import MemoryFeed
from sage_perception.memory.opening import open_store
from sage_perception.memory.space import Space
from sage_perception.models import load
from sage_perception.pipeline.fusion_pipeline import FusionPipeline
from sage_perception.trust.arbiter import Arbiter

START_NS, PERIOD_NS = 10**15, 10**8
CAMERAS = ['cam0', 'cam1']


@pytest.fixture(scope='module')
def codec():
    return load('tinyvae', backend='onnxruntime')


@pytest.fixture
def memory(tmp_path):
    with open_store(tmp_path / 'memory.db', Space.of('tinyvae')) as store:
        yield MemoryFeed(EpisodicMemory(store, threshold=0.0, min_novelty=0.0))


@pytest.fixture
def builder(codec):
    space = LatentSpace.of(codec.id, codec.latent_mean, codec.latent_std)
    return ContextBuilder(space, ['robot1/cam0', 'robot1/cam1'])


def lcts(codec, camera, stamp_ns):
    """Return the LCTs of three objects, which both cameras show alike."""
    found = []
    for track, values in enumerate(np.random.default_rng(1).standard_normal((3, 64))):
        mean = (codec.latent_mean + 2 * codec.latent_std * values).ravel().astype(np.float32)
        latent = Latent(
            mean,
            np.full_like(mean, -4),
            model=codec.id,
            roi=Roi(100 * track, 50, 64, 64),
            track_id=track + 1,
            telemetry=Telemetry(0.8, 0.01, 2.0, 4.0),
        )
        sequence = stamp_ns + track
        found.append(LCT.encoded(latent, entity_id=camera, sequence=sequence, stamp_ns=stamp_ns))
    return found


def run(pipeline, codec, frames, size=(640, 480)):
    """Process frames of both cameras; return all moments and scores."""
    moments, scores = [], []
    for index in range(frames):
        stamp_ns = START_NS + index * PERIOD_NS
        for camera in CAMERAS:
            moments += pipeline.add_frame(camera, stamp_ns, size, lcts(codec, camera, stamp_ns))
        more, scored = pipeline.step(stamp_ns)
        moments += more
        scores += scored
    return moments, scores


def test_memory_and_contexts_get_lcts_and_agreements(codec, memory, builder):
    entities = {name: f'robot1/{name}' for name in CAMERAS}
    arbiter = Arbiter(CAMERAS, codec)
    pipeline = FusionPipeline(arbiter, memory, builder, entities=entities)
    moments, scores = run(pipeline, codec, 12)
    assert sum(map(len, (m.pairings[0].matches for m in moments))) >= 3 * 10
    assert {each.camera for each in scores} == set(CAMERAS)
    context = builder.build()
    assert context.cameras == ('robot1/cam0', 'robot1/cam1')
    assert {camera for camera, _ in context.keys} == set(context.cameras)
    # Matched LCTs agree, which the contexts contain.
    assert context.segment('sensory').any()
    assert pipeline.newest_ns == dict.fromkeys(CAMERAS, START_NS + 11 * PERIOD_NS)
    assert pipeline.context_frames == 24


def test_arbiter_works_without_memory_and_contexts(codec):
    moments, scores = run(FusionPipeline(Arbiter(CAMERAS, codec)), codec, 2)
    assert len(moments) == 2
    assert scores == []


def test_frames_of_unknown_size_do_not_reach_the_contexts(codec, builder):
    pipeline = FusionPipeline(Arbiter(CAMERAS, codec), builder=builder)
    run(pipeline, codec, 1, size=(0, 0))
    assert pipeline.context_frames == 0


@pytest.mark.parametrize('required', [False, True])
def test_frames_without_lcts_are_relayed_unless_signatures_are_required(codec, builder, required):
    pipeline = FusionPipeline(
        Arbiter(CAMERAS, codec), builder=builder, require_signatures=required
    )
    pipeline.add_frame('cam0', START_NS, (640, 480), [])
    assert pipeline.context_frames == int(not required)
