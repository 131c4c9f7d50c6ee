# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded contexts: they equal the contexts that the nodes of a robot make."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.context.layout import BLOCKS
from sage_perception.memory import EpisodicMemory, Space, open_store
from sage_perception.models import load
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.training.contexts.plan import PART, SECONDS, plan, record
from sage_perception.training.contexts.recording import Recording
from sage_perception.training.contexts.scenes import RATE_HZ, clip_scene
from sage_perception.training.contexts.virtual_camera import VirtualCamera
from sage_perception.trust.fitted import FittedTrust
from sage_perception.trust.quality import telemetry_trust
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST, Fault

WHOLE = VirtualCamera(0.0, 0.0, 1.0, mirrored=False, gain=1.0, late=0)
SIDE = 48
PERIOD_NS = round(1e9 / RATE_HZ)


@pytest.fixture(scope='module')
def codec():
    return load('tinyvae')


def texture(seed, height=240, width=320):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def scene(frames=50):
    """Yield frames in which a square moves back and forth over a still background."""
    background, square = texture(0) // 2, texture(1, SIDE, SIDE)
    for index in range(frames):
        image = background.copy()
        x = 20 + 4 * min(index % 100, 100 - index % 100)
        image[90 : 90 + SIDE, x : x + SIDE] = square
        yield image, []


def leading(context):
    """Return the known logical fields of the most salient item."""
    values, mask = context.rows('logical.items')
    fields = BLOCKS['logical.items'].fields
    return {
        name: float(values[0, i]) for i, name in enumerate(fields) if context.keys and mask[0, i]
    }


def contexts_of(codec, frames=50, **options):
    return [context for context, _ in Recording(codec, [WHOLE], 1e6, **options).run(scene(frames))]


def test_trust_is_that_of_the_encoder(codec, tmp_path):
    uncalibrated = tmp_path / 'uncalibrated'
    shutil.copytree(codec.artifact.path, uncalibrated)
    (uncalibrated / 'trust.json').unlink()
    qualities = FittedTrust.read(codec).quality.qualities
    pairs = list(zip(contexts_of(codec), contexts_of(load(uncalibrated)), strict=True))
    assert pairs
    for fitted, plain in ((leading(a), leading(b)) for a, b in pairs):
        formula = telemetry_trust((plain['error'] / 10) ** 2, plain['kl'] * 10)
        assert plain['telemetry_trust'] == plain['trust'] == pytest.approx(formula, abs=1e-5)
        assert fitted['error'] == plain['error']
        assert fitted['telemetry_trust'] == fitted['trust'] != plain['trust']
        assert qualities[0] <= fitted['trust'] <= qualities[-1]


def test_memory_scores_and_recalls_items(codec):
    with open_store(':memory:', Space.of(codec.artifact.path)) as store:
        memory = EpisodicMemory(store, threshold=0.0, min_novelty=0.0)
        contexts = contexts_of(codec, frames=125, memory=memory, visit_s=6.0)
    assert any(context.mask[BLOCKS['semantic.recall'].where].any() for context in contexts)
    scores = {'surprise', 'novelty', 'arousal', 'reward', 'conflict'}
    assert scores <= leading(contexts[-1]).keys()
    assert any(leading(context).get('arousal', 0) > 0 for context in contexts)
    alone = contexts_of(codec)
    assert not any(scores & leading(context).keys() for context in alone)


def test_a_recorded_clip_gives_the_lcts_of_the_encoder(codec):
    """The recording and the encoder node call the same `CropEncoder` in the same way."""
    recording = Recording(codec, [WHOLE], 1e6)
    encoder, identity = CropEncoder(codec), Identity('cam0', start=1)
    pipeline = CameraPipeline(CropEncoder(codec), Identity('cam0', start=1))
    count = 0
    for index, frame in enumerate(scene(60)):
        stamp_ns = 10**15 + index * PERIOD_NS
        recording.step([frame], stamp_ns)
        processed = pipeline.process(frame[0], stamp_ns)
        if not processed.crops:
            continue
        # As the node does with a CropArray.
        encoded = encoder.encode(
            np.stack([encoder.to_input(crop.image) for crop in processed.crops]),
            [crop.roi for crop in processed.crops],
            [crop.track_id for crop in processed.crops],
            [crop.score for crop in processed.crops],
            TRUST[processed.fault],
        )
        for own, crop in zip(
            encoder.lcts(encoded.latents, stamp_ns, identity), processed.crops, strict=True
        ):
            recorded = recording.newest('cam0', crop.track_id)
            assert np.array_equal(recorded.latent.mean, own.latent.mean)
            assert np.array_equal(recorded.latent.log_var, own.latent.log_var)
            assert recorded.trust == own.trust
            assert recorded.sequence == own.sequence
            assert recorded.stamp_ns == own.stamp_ns
            assert recorded.provenance == own.provenance
            told, ours = recorded.latent.telemetry, own.latent.telemetry
            assert told.reconstruction_error == ours.reconstruction_error
            assert (told.kl_per_dim, told.latent_norm) == (ours.kl_per_dim, ours.latent_norm)
            count += 1
    assert count > 10


def test_a_camera_fault_lowers_the_recorded_trust(codec):
    """The last frame is repeated until camera health detects a frozen camera."""

    def frozen():
        frames = list(scene(60))
        yield from frames[:45]
        yield from [frames[44]] * 20

    contexts = [context for context, _ in Recording(codec, [WHOLE], 1e6).run(frozen())]
    before, after = leading(contexts[0])['trust'], leading(contexts[-1])
    assert before > 0.3
    assert after['trust'] == TRUST[Fault.FROZEN] == 0


def test_packed_encodings_are_recorded_as_they_arrive(codec):
    recording = Recording(codec, [WHOLE], 1e6, encoding=Encoding.INT8)
    plain = Recording(codec, [WHOLE], 1e6)
    for index, frame in enumerate(scene(60)):
        for each in (recording, plain):
            places = each.step([frame], 10**15 + index * PERIOD_NS)
    assert places
    packer = Packer.of(codec)
    for camera, track in places:
        packed, z = recording.newest(camera, track), plain.newest(camera, track).latent.mean
        arrived = packer.unpack(packer.pack(z, Encoding.INT8), Encoding.INT8)
        assert np.array_equal(packed.latent.mean, arrived)
        assert packed.latent.log_var is None


@pytest.fixture
def short_clip(tmp_path):
    path = tmp_path / 'short.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), RATE_HZ, (320, 240))
    for image, _ in scene(30):
        writer.write(image)
    writer.release()
    return path


def test_a_short_clip_is_played_forward_and_backward(short_clip):
    images = [
        image.astype(int) for image, _ in clip_scene(short_clip, np.random.default_rng(0), SECONDS)
    ]
    assert len(images) == int(SECONDS * RATE_HZ)

    def apart(a, b):
        return np.abs(images[a] - images[b]).mean()

    # Equal but for weak noise.
    assert 0 < apart(28, 30) < 1.5
    assert 0 < apart(0, 58) < 1.5
    assert apart(28, 29) > apart(28, 30)


def test_a_run_is_reproducible_and_differs_from_other_runs(short_clip, codec):
    first, second = plan([short_clip], [], 2, 0)
    made = [record(run, codec) for run in (first, first, second)]
    assert np.array_equal(made[0].values, made[1].values)
    assert made[0].values.shape != made[2].values.shape or not np.array_equal(
        made[0].values, made[2].values
    )


def test_parts_of_montages_share_no_image():
    images = [Path(f'{number}.jpg') for number in range(3 * PART)]
    planned = plan([], images, 1, 10)
    parts = {run.name: set(run.scene.args[0]) for run in planned}
    assert len(planned) == 10
    assert set.union(*parts.values()) == set(images)
    assert sum(map(len, parts.values())) == len(images)
    assert len({(run.name, run.repeat) for run in planned}) == 10
    few = plan([], images[:5], 1, 3)
    assert {run.name for run in few} == {'images 1 of 1'}
