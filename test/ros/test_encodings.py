# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encoder and arbiter nodes with latents in each encoding."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sage_msgs.msg import Crop, CropArray, LCTArray, ModelInfo
from sage_msgs.srv import DecodeLatent, EncodeImage
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs import codebook
from sage_perception.codecs.codebook import CODEBOOK, Codebook
from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import LCT
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import image_to_msg, rgb_from_msg


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a copy of the shipped model without its codebook."""
    source = models.available()['tinyvae']
    copy = tmp_path_factory.mktemp('models') / 'tinyvae'
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(CODEBOOK))
    return copy


@pytest.fixture(scope='module')
def codec(folder):
    return models.load(folder, backend='onnxruntime')


@pytest.fixture(scope='module')
def book(codec):
    rng = np.random.default_rng(0)
    levels = codec.latent_mean + codec.latent_std * rng.normal(size=(2, 100, codec.latent_dim))
    return Codebook(levels.astype(np.float32), codec.id.fingerprint)


def random_image():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def figures(ros, health, name):
    """Wait for the next diagnostics of a component and return its values."""
    seen = len(health)

    def found():
        statuses = [s for array in health[seen:] for s in array.status if s.name.endswith(name)]
        return statuses and {pair.key: pair.value for pair in statuses[-1].values}

    return ros.wait_for(found, name)


@pytest.mark.parametrize('encoding', Encoding, ids=lambda encoding: encoding.name.lower())
def test_encoder_transmits_and_decodes_every_encoding(
    ros, tmp_path, folder, codec, book, encoding
):
    model = Path(shutil.copytree(folder, tmp_path / 'model'))
    if encoding == Encoding.VQ:
        codebook.write(model, book)
    lcts = ros.collect(LCTArray, 'lcts')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', f'encoding:={encoding.name.lower()}', '-p', f'model:={model}')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    header = Header(stamp=stamp_to_msg(10**9), frame_id='camera')
    image = image_to_msg(random_image(), 'rgb8', header)
    crop = Crop(roi=RegionOfInterest(width=64, height=64), track_id=1, image=image)
    crops.publish(CropArray(header=header, crops=[crop]))
    message = ros.wait_for(lambda: lcts and lcts[0].lcts, 'a latent')[0].latent

    packer = Packer(codec.latent_mean, codec.latent_std, book)
    x = random_image().transpose(2, 0, 1)[None].astype(np.float32) / 255
    z = codec.encode(x)[0]
    expected = packer.unpack(packer.pack(z, encoding), encoding)
    value = latent_from_msg(message, {codec.id.fingerprint: packer})
    assert message.encoding == encoding
    assert np.array_equal(value.mean, expected)
    # Telemetry describes the latent that arrives.
    decoded = codec.decode(expected[None])
    error = np.square(decoded - x).mean()
    assert value.telemetry.reconstruction_error == pytest.approx(error, rel=1e-4)
    values = figures(ros, health, 'under_test: model')
    assert values['encoding'] == encoding.name.lower()
    size = len(packer.pack(z, encoding)) if encoding else 2 * 256
    assert float(values['bytes_per_latent']) == size

    answer = ros.ask(DecodeLatent, 'under_test/decode_latent', latent=message)
    assert (answer.success, answer.message) == (True, '')
    pixels = np.rint(decoded[0].clip(0, 1) * 255).transpose(1, 2, 0)
    assert np.array_equal(rgb_from_msg(answer.image), pixels.astype(np.uint8))
    message.payload = [1] * 999
    answer = ros.ask(DecodeLatent, 'under_test/decode_latent', latent=message)
    assert not answer.success
    assert '999 bytes' in answer.message
    # The service returns the latent unpacked.
    answer = ros.ask(EncodeImage, 'under_test/encode_image', image=image)
    assert np.array_equal(latent_from_msg(answer.latent).mean, z)


def test_encoding_vq_without_codebook_is_rejected_with_the_fix(ros):
    folder = models.available()['tinyvae_128']
    reason = f"parameter 'encoding': vq needs a codebook, and {folder} has none: train one"
    with pytest.raises(ConfigurationError) as rejected:
        ros.make(EncoderNode, '-p', 'encoding:=vq', '-p', 'model:=tinyvae_128')
    assert reason in str(rejected.value)


def test_arbiter_reads_packed_latents_of_its_own_and_of_announced_models(ros, codec):
    packer = Packer(codec.latent_mean, codec.latent_std)
    z = codec.encode(np.random.default_rng(0).random((1, 3, 64, 64), np.float32))[0]
    trusted = ros.collect(LCTArray, 'trusted')
    fused = ros.collect(LCTArray, 'fused')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 10)
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    ros.wait_for(publisher.get_subscription_count, 'the arbiter')

    def send(sequence, *encodings, model=codec.id):
        stamp = ros.node.get_clock().now().nanoseconds
        array = LCTArray(header=Header(stamp=stamp_to_msg(stamp)))
        for number, encoding in enumerate(encodings):
            lct = LCT.encoded(
                Latent(z, model=codec.id if encoding == Encoding.FLOAT32 else model),
                entity_id='cam0',
                sequence=sequence + number,
                stamp_ns=stamp,
                trust=1.0,
            )
            array.lcts.append(lct_to_msg(lct, encoding, packer))
        count = len(fused)
        publisher.publish(array)
        ros.wait_for(lambda: len(fused) > count, 'an answer')
        return fused[-1].lcts

    # Latents of an unknown model can only be read if they are float32.
    mixed = Encoding.INT8, Encoding.FLOAT32, Encoding.ENTROPY_INT8
    assert len(send(10, *mixed, model=ModelId('other', '1', bytes(range(32))))) == 1
    values = figures(ros, health, 'under_test: agreement')
    assert values['cam0 rejected: unknown model'] == '2'
    assert values['cam0 accepted'] == '1'
    assert len(send(20, *mixed)) == 3

    ros.node.create_publisher(ModelInfo, 'cam0/model_info', qos.LATCHED).publish(
        model_info_to_msg(codec, stamp_to_msg(1))
    )
    ros.wait_for(
        lambda: figures(ros, health, 'input cam0/model_info')['received'] == '1', 'the model'
    )
    encodings = (Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8)
    answers = send(30, *encodings)
    for encoding, answer in zip(encodings, answers, strict=True):
        assert answer.latent.encoding == Encoding.FLOAT32
        assert np.array_equal(
            latent_from_msg(answer.latent).mean, packer.unpack(packer.pack(z, encoding), encoding)
        )
    # Forwarded LCTs are unchanged.
    assert [lct.latent.encoding for lct in trusted[-1].lcts] == list(encodings)
