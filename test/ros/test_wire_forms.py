# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encoder and arbiter with latents in each wire form."""

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
from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import to_message, to_rgb


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Give a copy of the model that ships, without a codebook."""
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


def a_image():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def figures(ros, health, name):
    """Wait for the next diagnostics of a part and return its figures."""
    seen = len(health)

    def found():
        statuses = [s for array in health[seen:] for s in array.status if s.name.endswith(name)]
        return statuses and {pair.key: pair.value for pair in statuses[-1].values}

    return ros.wait_for(found, name)


@pytest.mark.parametrize('form', Encoding, ids=lambda form: form.name.lower())
def test_an_encoder_speaks_and_decodes_every_form(ros, tmp_path, folder, codec, book, form):
    model = Path(shutil.copytree(folder, tmp_path / 'model'))
    if form == Encoding.VQ:
        codebook.write(model, book)
    lcts = ros.collect(LCTArray, 'lcts')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', f'encoding:={form.name.lower()}', '-p', f'model:={model}')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    header = Header(stamp=stamp_to_msg(10**9), frame_id='camera')
    image = to_message(a_image(), 'rgb8', header)
    crop = Crop(roi=RegionOfInterest(width=64, height=64), track_id=1, image=image)
    crops.publish(CropArray(header=header, crops=[crop]))
    message = ros.wait_for(lambda: lcts and lcts[0].lcts, 'a latent')[0].latent

    packer = Packer(codec.latent_mean, codec.latent_std, book)
    x = a_image().transpose(2, 0, 1)[None].astype(np.float32) / 255
    z = codec.encode(x)[0]
    expected = packer.unpack(packer.pack(z, form), form)
    value = latent_from_msg(message, {codec.id.fingerprint: packer})
    assert message.encoding == form
    assert np.array_equal(value.mean, expected)
    # What is said of a latent holds for the one that arrives.
    decoded = codec.decode(expected[None])
    error = np.square(decoded - x).mean()
    assert value.telemetry.reconstruction_error == pytest.approx(error, rel=1e-4)
    said = figures(ros, health, 'under_test: model')
    assert said['encoding'] == form.name.lower()
    size = len(packer.pack(z, form)) if form else 2 * 256
    assert float(said['bytes_per_latent']) == size

    answer = ros.ask(DecodeLatent, 'under_test/decode_latent', latent=message)
    assert (answer.success, answer.message) == (True, '')
    pixels = np.rint(decoded[0].clip(0, 1) * 255).transpose(1, 2, 0)
    assert np.array_equal(to_rgb(answer.image), pixels.astype(np.uint8))
    message.payload = [1] * 999
    answer = ros.ask(DecodeLatent, 'under_test/decode_latent', latent=message)
    assert not answer.success
    assert '999 bytes' in answer.message
    # Who asks for one latent gets all of it.
    answer = ros.ask(EncodeImage, 'under_test/encode_image', image=image)
    assert np.array_equal(latent_from_msg(answer.latent).mean, z)


def test_an_encoder_that_shall_speak_in_tokens_needs_a_codebook(ros):
    folder = models.available()['tinyvae_128']
    why = f"parameter 'encoding': vq needs a codebook, and {folder} has none: train one"
    with pytest.raises(ConfigurationError) as refused:
        ros.make(EncoderNode, '-p', 'encoding:=vq', '-p', 'model:=tinyvae_128')
    assert why in str(refused.value)


def test_an_arbiter_reads_packed_latents_as_soon_as_it_knows_their_model(ros, codec):
    packer = Packer(codec.latent_mean, codec.latent_std)
    z = codec.encode(np.random.default_rng(0).random((1, 3, 64, 64), np.float32))[0]
    trusted = ros.collect(LCTArray, 'trusted')
    fused = ros.collect(LCTArray, 'fused')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    speak = ros.node.create_publisher(LCTArray, 'cam0/lcts', 10)
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    ros.wait_for(speak.get_subscription_count, 'the arbiter')

    def say(sequence, *forms):
        stamp = ros.node.get_clock().now().nanoseconds
        array = LCTArray(header=Header(stamp=stamp_to_msg(stamp)))
        for number, form in enumerate(forms):
            lct = LCT.encoded(
                Latent(z, model=codec.id),
                entity_id='cam0',
                sequence=sequence + number,
                stamp_ns=stamp,
                trust=1.0,
            )
            array.lcts.append(lct_to_msg(lct, form, packer))
        count = len(fused)
        speak.publish(array)
        ros.wait_for(lambda: len(fused) > count, 'an answer')
        return fused[-1].lcts

    # Numbers that come as numbers can be read whoever they are of.
    assert len(say(10, Encoding.INT8, Encoding.FLOAT32, Encoding.ENTROPY_INT8)) == 1
    said = figures(ros, health, 'under_test: agreement')
    assert said['cam0 refused: unknown model'] == '2'
    assert said['cam0 accepted'] == '1'

    ros.node.create_publisher(ModelInfo, 'cam0/model_info', qos.LATCHED).publish(
        model_info_to_msg(codec, stamp_to_msg(1))
    )
    ros.wait_for(
        lambda: figures(ros, health, 'input cam0/model_info')['received'] == '1', 'the model'
    )
    forms = (Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8)
    answers = say(20, *forms)
    for form, answer in zip(forms, answers, strict=True):
        assert answer.latent.encoding == Encoding.FLOAT32
        assert np.array_equal(
            latent_from_msg(answer.latent).mean, packer.unpack(packer.pack(z, form), form)
        )
    # What is passed on is what was said.
    assert [lct.latent.encoding for lct in trusted[-1].lcts] == list(forms)
