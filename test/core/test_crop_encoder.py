# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encoding of crops: inputs, errors as received, sequence numbers, and camera faults."""

import numpy as np
import pytest

from sage_perception import models
from sage_perception.codecs.packing import Encoding
from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Roi
from sage_perception.core.lct import Operation
from sage_perception.irp.residual import from_residual
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder, EncodingError
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST, Fault
from sage_perception.vision.synthetic import SyntheticWorld

STAMP_NS = 10**15


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


@pytest.fixture(scope='module')
def crops():
    frame = SyntheticWorld().render(1.0)[..., ::-1]
    images = frame[60:124, 40:104], frame[120:184, 200:264]
    return [
        Crop(np.ascontiguousarray(image), Roi(x, 60, 64, 64), 0.5, CropSource.MOTION, track)
        for track, (x, image) in enumerate(zip((40, 200), images, strict=True), 1)
    ]


def reconstruction_errors(codec, encoded, means):
    return np.square(codec.decode(means) - encoded.inputs).mean((1, 2, 3))


def test_an_input_has_the_size_and_the_channels_of_the_model(codec):
    encoder = CropEncoder(codec)
    rgb = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    for image in (rgb, rgb[..., 0]):
        x = encoder.to_input(image)
        assert (x.shape, x.dtype) == (encoder.input_shape, np.float32)
        assert 0 <= x.min() <= x.max() <= 1


def test_latents_keep_the_order_regions_and_tracks_of_the_crops(codec, crops):
    encoded = CropEncoder(codec).encode_crops(crops)
    assert [z.roi for z in encoded.latents] == [crop.roi for crop in crops]
    assert [z.track_id for z in encoded.latents] == [crop.track_id for crop in crops]
    assert np.array_equal(encoded.means, codec.encode(encoded.inputs))


@pytest.mark.parametrize('encoding', [Encoding.FLOAT32, Encoding.FLOAT16, Encoding.INT8])
def test_reconstruction_errors_are_those_of_the_received_latents(codec, crops, encoding):
    encoder = CropEncoder(codec, encoding=encoding)
    encoded = encoder.encode_crops(crops)
    lcts = encoder.lcts(encoded.latents, STAMP_NS, Identity('cam0'))
    received = np.stack([encoder.received(lct).latent.mean for lct in lcts])
    errors = reconstruction_errors(codec, encoded, received)
    assert encoded.errors == pytest.approx(errors, rel=1e-5)
    measured = [lct.latent.telemetry.reconstruction_error for lct in lcts]
    assert measured == pytest.approx(errors, rel=1e-5)


def test_an_lct_has_one_encoding_step_and_the_next_sequence_number(codec, crops):
    encoder, source = CropEncoder(codec), Identity('robot1/cam0', start=42)
    lcts = encoder.lcts(encoder.encode_crops(crops).latents, STAMP_NS, source)
    assert [(lct.sequence, lct.index) for lct in lcts] == [(42, 0), (42, 1)]
    for lct in lcts:
        (step,) = lct.provenance
        assert (step.operation, step.entity_id) == (Operation.ENCODE, 'robot1/cam0')
        assert lct.entity_id == 'robot1/cam0'
        assert lct.stamp_ns == STAMP_NS
        assert lct.trust == step.trust == lct.latent.telemetry.trust


def test_camera_trust_scales_the_trust_of_all_latents(codec, crops):
    healthy, faulty = (
        CropEncoder(codec).encode_crops(crops, trust) for trust in (1.0, TRUST[Fault.CHANNELS])
    )
    for a, b in zip(healthy.latents, faulty.latents, strict=True):
        assert 0 < b.telemetry.trust == pytest.approx(0.25 * a.telemetry.trust)


def test_residuals_restore_the_crops(codec, crops):
    encoder = CropEncoder(codec, encoding=Encoding.INT8)
    encoded = encoder.encode_crops(crops)
    decoded = codec.decode(encoder.as_received(encoded.means))
    restored = from_residual(encoder.residuals(encoded), decoded)
    assert np.abs(restored - encoded.inputs).max() < 1 / 127


def test_vq_without_a_codebook_is_rejected_with_the_fix():
    codec = models.load('tinyvae_128', backend='onnxruntime')
    with pytest.raises(EncodingError, match='sage codebook'):
        CropEncoder(codec, encoding=Encoding.VQ)


def test_a_frozen_camera_loses_the_trust_of_its_lcts(codec):
    camera = CameraPipeline(CropEncoder(codec), Identity('cam0', start=1))
    world = SyntheticWorld(seed=1, objects=2)
    images = [world.render(number / 15, number) for number in range(45)]
    frames = [
        camera.process(image, STAMP_NS + number * 10**9 // 15)
        for number, image in enumerate([*images, *[images[-1]] * 6])
    ]
    live = [lct.trust for frame in frames[:45] for lct in frame.lcts]
    assert live
    assert min(live) > 0
    assert frames[-1].fault is Fault.FROZEN
    assert all(lct.trust == 0 for lct in frames[-1].lcts)
    numbers = [(lct.sequence, lct.index) for frame in frames for lct in frame.lcts]
    assert numbers == sorted(set(numbers))
    seen = [frame for frame in frames if frame.lcts]
    assert [number for number, index in numbers if not index] == list(range(1, len(seen) + 1))
