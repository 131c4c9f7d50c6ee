# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The slots node: LCTs, segmentations, and their use by attention and compressor."""

import numpy as np
import pytest
from sage_msgs.msg import Crop, CropArray, HContext, LCTArray, ModelInfo
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_slots import export_tiny_slots

from sage_perception.context.layout import BLOCKS
from sage_perception.core.latent import Latent, LatentKind, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.models import artifact, load_compressor, load_slot_encoder
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.compressor_node import CompressorNode
from sage_perception.nodes.slots_node import SlotsNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.lct_arrays import lct_array_to_msg, received_lcts
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import image_to_msg
from sage_perception.trust.security.canonical import PLAIN


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Return the folder of a tiny slot model with 64-D slots."""
    folder = tmp_path_factory.mktemp('slots')
    export_tiny_slots(folder, slot_dim=64)
    return folder / 'model'


def an_image(shift=0):
    image = np.full((120, 160, 3), 60, np.uint8)
    image[40:80, 50 + shift : 90 + shift] = (30, 200, 240)
    return image


def test_slots_of_images_are_lcts_and_segmentations(ros, model):
    words = ('-p', f'model:={model}', '-p', 'min_area:=0.0', '-p', 'rate:=60.0')
    node = ros.make(SlotsNode, *words, namespace='cam0')
    loaded = set(node._configured.model._sessions)
    assert loaded == {artifact.ENCODER, artifact.TRACKER, artifact.DECODER}, 'before an image'
    images = ros.node.create_publisher(Image, '/cam0/image_raw', qos.CAMERA)
    arrays = ros.collect(LCTArray, '/cam0/slots')
    infos = ros.collect(ModelInfo, '/cam0/slots_model_info', qos.LATCHED)
    labels = ros.collect(Image, '/cam0/segmentation', qos.VISUALIZATION)
    colors = ros.collect(Image, '/cam0/segmentation_color', qos.VISUALIZATION)
    ros.wait_for(images.get_subscription_count, 'the node')
    for topic in ('slots', 'segmentation', 'segmentation_color'):
        ros.wait_for(lambda t=topic: node.count_subscribers(f'/cam0/{t}'), topic)

    def divided():
        stamp = stamp_to_msg(node.get_clock().now().nanoseconds)
        header = Header(stamp=stamp, frame_id='lens')
        images.publish(image_to_msg(an_image(), 'bgr8', header))
        return arrays and labels and colors and infos

    ros.wait_for(divided, 'slots and segmentations')
    message = next(m for m in arrays if m.lcts)
    assert (message.header.frame_id, message.camera) == ('lens', 'cam0/slots')
    assert (message.source_width, message.source_height) == (160, 120)
    known = load_slot_encoder(model).id
    lcts = [received.read()[0] for received in received_lcts(message)]
    assert {lct.latent.model for lct in lcts} == {known}
    assert {lct.latent.kind for lct in lcts} == {LatentKind.SLOT}
    assert all(lct.latent.roi.area and lct.latent.track_id and 0 <= lct.trust <= 1 for lct in lcts)
    assert bytes(infos[0].model.fingerprint) == known.fingerprint
    assert (labels[0].encoding, labels[0].width, labels[0].height) == ('mono8', 160, 120)
    assert 1 <= max(labels[0].data) <= 4
    assert (colors[0].encoding, colors[0].width) == ('rgb8', 160)


def test_a_model_of_another_kind_is_refused(ros):
    with pytest.raises(ConfigurationError, match='is not a slot model'):
        ros.make(SlotsNode, '-p', 'model:=tinyvae')


def test_attention_crops_slots_of_a_still_scene(ros):
    words = ('-p', 'use_slots:=true', '-p', 'saliency_weight:=0.0')
    node = ros.make(AttentionNode, *words)
    images = ros.node.create_publisher(Image, 'image_raw', qos.CAMERA)
    slots = ros.node.create_publisher(LCTArray, 'slots', qos.DEFAULT)
    crops = ros.collect(CropArray, 'crops')
    ros.wait_for(lambda: images.get_subscription_count() and slots.get_subscription_count())
    ros.wait_for(lambda: node.count_subscribers('crops'), 'a subscriber')
    sequence = 0

    def cropped():
        nonlocal sequence
        sequence += 1
        stamp_ns = node.get_clock().now().nanoseconds
        header = Header(stamp=stamp_to_msg(stamp_ns))
        images.publish(image_to_msg(an_image(), 'bgr8', header))
        latent = Latent(
            np.zeros(64, np.float32),
            kind=LatentKind.SLOT,
            roi=Roi(50, 40, 40, 40),
            track_id=3,
            telemetry=Telemetry(0.8),
        )
        lct = LCT.encoded(latent, entity_id='slots', sequence=sequence, stamp_ns=stamp_ns)
        slots.publish(lct_array_to_msg(header, (160, 120), 'slots', [(lct, PLAIN)]))
        return [c for m in list(crops) for c in m.crops if c.source == Crop.SOURCE_SLOTS]

    found = ros.wait_for(cropped, 'a crop of a slot')[0]
    assert abs(found.roi.x_offset + found.roi.width / 2 - 70) <= 1
    assert found.score == pytest.approx(0.4)


def test_the_compressor_fills_the_object_slots_of_contexts(ros, model):
    compressor = load_compressor('h_to_l_hybrid', backend='onnxruntime')
    words = ('-p', f'slot_model:={model}', '-p', 'cameras:=[cam0]', '-p', 'rate:=30.0')
    node = ros.make(CompressorNode, *words)
    slots = ros.node.create_publisher(LCTArray, 'cam0/slots', qos.DEFAULT)
    trusted = ros.node.create_publisher(LCTArray, 'trusted', qos.DEFAULT)
    contexts = ros.collect(HContext, 'h_context')
    ros.wait_for(lambda: slots.get_subscription_count() and trusted.get_subscription_count())
    ros.wait_for(lambda: node.count_subscribers('h_context'), 'a subscriber')
    known, sequence = load_slot_encoder(model), 0

    def lct(entity, model_id, mean, stamp_ns, kind):
        latent = Latent(
            np.float32(mean), kind=kind, model=model_id, roi=Roi(5, 5, 40, 40), track_id=1
        )
        return LCT.encoded(
            latent, entity_id=entity, sequence=sequence, stamp_ns=stamp_ns, trust=0.9
        )

    def filled():
        nonlocal sequence
        sequence += 1
        stamp_ns = node.get_clock().now().nanoseconds
        header = Header(stamp=stamp_to_msg(stamp_ns))
        own = lct('cam0/slots', known.id, known.latent_mean.ravel() + 1, stamp_ns, LatentKind.SLOT)
        slots.publish(lct_array_to_msg(header, (160, 120), 'cam0/slots', [(own, PLAIN)]))
        seen = lct('cam0', compressor.latents, compressor.space_mean, stamp_ns, LatentKind.VISION)
        array = LCTArray(header=header, source_width=160, source_height=120, camera='cam0')
        array.lcts = [lct_to_msg(seen)]
        trusted.publish(array)
        block = BLOCKS['semantic.slots'].where
        masks = [np.unpackbits(np.array(m.mask, np.uint8))[block] for m in list(contexts)]
        return any(mask.sum() == 64 for mask in masks)

    ros.wait_for(filled, 'a context with one slot')
