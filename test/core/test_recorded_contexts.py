# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded contexts: they hold what a robot's own chain would have said."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from sage_perception.context.context import BLOCKS
from sage_perception.memory import EpisodicMemory, Space, open_store
from sage_perception.models import load
from sage_perception.training.contexts.recording import (
    PART,
    RATE_HZ,
    SECONDS,
    Recording,
    VirtualCamera,
    clip_scene,
    plan,
    record,
)
from sage_perception.trust.fitted import FittedTrust
from sage_perception.trust.quality import telemetry_trust

WHOLE = VirtualCamera(0.0, 0.0, 1.0, mirrored=False, gain=1.0, late=0)
SIDE = 48


@pytest.fixture(scope='module')
def codec():
    return load('tinyvae')


def texture(seed, height=240, width=320):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def scene(frames=50):
    """A square goes to and fro before a still background."""
    behind, mover = texture(0) // 2, texture(1, SIDE, SIDE)
    for index in range(frames):
        image = behind.copy()
        x = 20 + 4 * min(index % 100, 100 - index % 100)
        image[90 : 90 + SIDE, x : x + SIDE] = mover
        yield image, []


def leading(context):
    """Return what is known of the most salient thing's judgement, by field."""
    values, mask = context.rows('logical.items')
    fields = BLOCKS['logical.items'].fields
    return {
        name: float(values[0, i]) for i, name in enumerate(fields) if context.keys and mask[0, i]
    }


def test_trust_is_what_the_encoder_says(codec, tmp_path):
    plain = tmp_path / 'plain'
    shutil.copytree(codec.artifact.path, plain)
    (plain / 'trust.json').unlink()
    told = {
        name: [leading(context) for context, _ in Recording(model, [WHOLE], 1e6).run(scene())]
        for name, model in (('fitted', codec), ('plain', load(plain)))
    }
    assert told['plain']
    for fitted, plain in zip(told['fitted'], told['plain'], strict=True):
        formula = telemetry_trust((plain['error'] / 10) ** 2, plain['kl'] * 10)
        assert plain['telemetry_trust'] == plain['trust'] == pytest.approx(formula, abs=1e-5)
        assert fitted['error'] == plain['error']
        assert fitted['telemetry_trust'] == fitted['trust'] != plain['trust']
        qualities = FittedTrust.of(codec).quality.qualities
        assert qualities[0] <= fitted['trust'] <= qualities[-1]


def test_memory_scores_what_is_seen_and_recalls_it(codec):
    with open_store(':memory:', Space.of(codec.artifact.path)) as store:
        memory = EpisodicMemory(store, threshold=0.0, min_novelty=0.0)
        recording = Recording(codec, [WHOLE], 1e6, memory)
        contexts = [context for context, _ in recording.run(scene(70))]
    recalled = [context.mask[BLOCKS['semantic.recall'].where].any() for context in contexts]
    assert any(recalled)
    scores = {'surprise', 'novelty', 'arousal', 'reward', 'conflict'}
    assert all(scores <= leading(context).keys() for context in contexts)
    assert any(leading(context)['novelty'] > 0 for context in contexts)
    alone = [context for context, _ in Recording(codec, [WHOLE], 1e6).run(scene())]
    assert not any(scores & leading(context).keys() for context in alone)


@pytest.fixture
def short_clip(tmp_path):
    path = tmp_path / 'short.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), RATE_HZ, (320, 240))
    for image, _ in scene(30):
        writer.write(image)
    writer.release()
    return path


def test_a_short_clip_is_played_to_and_fro(short_clip):
    images = [image for image, _ in clip_scene(short_clip, np.random.default_rng(0))]
    assert len(images) == int(SECONDS * RATE_HZ)
    assert np.array_equal(images[28], images[30])
    assert np.array_equal(images[0], images[58])
    assert not np.array_equal(images[28], images[29])


def test_a_run_is_the_same_each_time_and_another_run_is_not(short_clip, codec):
    first, second = plan([short_clip], [], 2, 0)
    made = [record(run, codec) for run in (first, first, second)]
    assert np.array_equal(made[0].values, made[1].values)
    assert made[0].values.shape != made[2].values.shape or not np.array_equal(
        made[0].values, made[2].values
    )


def test_scenes_are_made_of_parts_that_share_no_image():
    pictures = [Path(f'{number}.jpg') for number in range(3 * PART)]
    played = plan([], pictures, 1, 10)
    parts = {run.name: set(run.scene.args[0]) for run in played}
    assert len(played) == 10
    assert set.union(*parts.values()) == set(pictures)
    assert sum(map(len, parts.values())) == len(pictures)
    assert len({(run.name, run.repeat) for run in played}) == 10
    few = plan([], pictures[:5], 1, 3)
    assert {run.name for run in few} == {'images 1 of 1'}
