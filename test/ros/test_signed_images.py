# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""With required signatures, nodes use only images of their process and of the camera's key."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from sage_msgs.msg import CropArray, ImageSignature
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tiny_slots import export_tiny_slots

from sage_perception.cli import keys as keys_command
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.camera_node import CameraNode
from sage_perception.nodes.slots_node import SlotsNode
from sage_perception.nodes.zspace_node import ZspaceNode
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import own_keys
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.local_bus import ProcessId
from sage_perception.ros.message_form import message_digest
from sage_perception.ros.signed_images import (
    MAX_DIGESTS,
    MAX_STAMPS,
    MAX_WAITING,
    ImageSigner,
    SignedImages,
)
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key

CAMERA = b'gid of the camera'


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keys_command.main(['create', 'cam0', 'cam1', '--dir', str(folder)]) == 0
    return folder


def node_of(ros, kind, **parameters):
    return ros.make(kind, namespace='cam0', **parameters)


def image_at(stamp_ns, value=0):
    header = Header(stamp=stamp_to_msg(stamp_ns), frame_id='cam0')
    return Image(header=header, height=2, width=2, step=6, encoding='bgr8', data=[value] * 12)


def black_image_at(stamp_ns):
    """Return an image that attention can use, which is not too small."""
    return image_to_msg(np.zeros((32, 32, 3), np.uint8), 'bgr8', image_at(stamp_ns).header)


class Signatures:
    """Stands for the publisher of the signatures, and keeps what was sent."""

    def __init__(self, uses_dds=True):
        self.sent, self.uses_dds = [], uses_dds

    def publish(self, message):
        self.sent.append(message)


def signature_of(keys, image, entity='cam0'):
    signatures = Signatures()
    ImageSigner(signatures, Identity(entity, load_key(keys, entity))).sign(image)
    return signatures.sent[0]


@pytest.fixture
def attention(ros, keys):
    """Return a node with `images`, the authenticated ones, and `reasons`, of the other ones."""
    node = node_of(ros, AttentionNode, key=keys, keys=keys, require_signatures='true')
    identity = Identity('cam0', load_key(keys, 'cam0'))
    images, reasons = [], []
    receiver = SignedImages(
        node,
        'image_signature',
        lambda: own_keys(identity),
        'cam0',
        images.append,
        reasons.append,
    )
    return SimpleNamespace(node=node, receiver=receiver, images=images, reasons=reasons)


def give(receiver, signature):
    receiver._signatures._receive(signature, CAMERA)


def test_signed_images_are_delivered_whichever_message_comes_first(attention, keys):
    now = time.time_ns()
    first, second = image_at(now), image_at(now + 1, 7)
    give(attention.receiver, signature_of(keys, first))
    attention.receiver.receive(first, CAMERA)
    attention.receiver.receive(second, CAMERA)
    assert attention.images == [first]
    give(attention.receiver, signature_of(keys, second))
    assert attention.images == [first, second]
    assert attention.reasons == []


def test_compressed_images_are_signed_as_well(attention, keys):
    header = image_at(time.time_ns()).header
    raw, compressed = Image(header=header), CompressedImage(header=header, format='jpeg', data=[1])
    for image in (raw, compressed):
        give(attention.receiver, signature_of(keys, image))
    attention.receiver.receive(compressed, CAMERA)
    assert attention.images == [compressed]


def test_images_that_the_camera_did_not_sign_are_rejected(attention, keys):
    now = time.time_ns()
    image = image_at(now)
    give(attention.receiver, signature_of(keys, image))
    changed = {
        'pixels': image_at(now, 1),
        'width': image_at(now),
        'frame_id': image_at(now),
        'encoding': image_at(now),
    }
    changed['width'].width, changed['frame_id'].header.frame_id = 1, 'cam1'
    changed['encoding'].encoding = 'rgb8'
    for forged in changed.values():
        attention.receiver.receive(forged, b'forger')
    assert attention.images == []
    assert len(attention.reasons) == len(changed)
    assert "set the parameter 'key' of the camera node" in attention.reasons[0]
    attention.receiver.receive(image, CAMERA)
    assert attention.images == [image]
    attention.receiver.receive(image, b'replay')
    assert attention.images == [image]
    give(attention.receiver, signature_of(keys, image_at(now + 1), 'cam1'))
    attention.receiver.receive(image_at(now + 1), CAMERA)
    assert attention.images == [image]


def test_waiting_images_and_kept_digests_are_bounded(attention, keys):
    now = time.time_ns()
    for n in range(MAX_WAITING + 3):
        attention.receiver.receive(image_at(now + n), b'forger')
    assert len(attention.receiver._waiting) == MAX_WAITING
    assert len(attention.reasons) == 3
    for n in range(MAX_STAMPS + 3):
        give(attention.receiver, signature_of(keys, image_at(now + 100 + n)))
    assert len(attention.receiver._digests) == MAX_STAMPS
    for _ in range(200):
        if attention.receiver.admits(b'forger'):
            attention.receiver.receive(image_at(now + 110), b'forger')
    assert not attention.receiver.admits(b'forger')
    assert attention.receiver.admits(ProcessId(b'x'))


def test_images_before_a_delivered_one_do_not_follow_it(attention, keys):
    now = time.time_ns()
    first, second = image_at(now), image_at(now + 1)
    attention.receiver.receive(first, CAMERA)
    give(attention.receiver, signature_of(keys, second))
    attention.receiver.receive(second, CAMERA)
    give(attention.receiver, signature_of(keys, first))
    assert attention.images == [second]


def test_a_lost_image_that_is_sent_later_does_not_follow_the_next_one(attention, keys):
    now = time.time_ns()
    lost, second = image_at(now), image_at(now + 1)
    for image in (lost, second):
        give(attention.receiver, signature_of(keys, image))
    attention.receiver.receive(second, CAMERA)
    attention.receiver.receive(lost, b'replay')
    assert attention.images == [second]


def test_digests_of_a_stamp_that_does_not_change_are_bounded(attention, keys):
    images = [image_at(time.time_ns(), value) for value in range(MAX_DIGESTS + 3)]
    for image in images:
        image.header.stamp = images[0].header.stamp
        give(attention.receiver, signature_of(keys, image))
    assert [len(each) for each in attention.receiver._digests.values()] == [MAX_DIGESTS]
    attention.receiver.receive(images[-1], CAMERA)
    assert attention.images == [images[-1]]


def test_images_of_the_same_process_need_no_signature(attention):
    image = image_at(time.time_ns())
    attention.receiver.receive(image, ProcessId(b'x'))
    assert attention.images == [image]


def test_camera_signs_the_images_that_it_publishes(ros, keys):
    signatures, images = ros.collect(ImageSignature, 'cam0/image_signature'), []
    ros.node.create_subscription(Image, 'cam0/image_raw', images.append, 10)
    node_of(ros, CameraNode, key=keys, source='synthetic://?size=64x48&fps=20')
    pairs = ros.wait_for(
        lambda: [
            (image, signature)
            for image in list(images)
            for signature in list(signatures)
            if signature.header == image.header
        ],
        'an image and its signature',
    )
    image, signature = pairs[0]
    assert signature.digest.tobytes() == message_digest(image)
    assert signature.signature.entity_id == 'cam0'


def test_images_are_not_hashed_for_receivers_of_the_same_process(keys):
    signatures = Signatures(uses_dds=False)
    ImageSigner(signatures, Identity('cam0', load_key(keys, 'cam0'))).sign(image_at(1))
    assert signatures.sent == []
    signatures.uses_dds = True
    ImageSigner(signatures, Identity('cam0')).sign(image_at(1))
    assert signatures.sent == []


def test_attention_attends_only_to_signed_images(ros, keys):
    crops = ros.collect(CropArray, 'cam0/crops')
    node = node_of(ros, AttentionNode, key=keys, keys=keys, require_signatures='true')
    assert node._report()[2]['signing'] == 'begins at the camera'
    forged = ros.node.create_publisher(Image, 'cam0/image_raw', 10)
    ros.wait_for(forged.get_subscription_count, 'attention')
    node_of(ros, CameraNode, key=keys, source='synthetic://?size=64x48&fps=20')

    def rejected():
        forged.publish(black_image_at(time.time_ns()))  # attention may miss one of them
        return node._images._monitor._rejected

    ros.wait_for(rejected, 'the rejection of the others')
    ros.wait_for(lambda: len(crops) >= 3, 'crops of signed images')
    assert {array.header.frame_id for array in crops} == {'cam0_optical_frame'}
    assert {array.signature.entity_id for array in crops} == {'cam0'}


def test_attention_that_requires_signatures_needs_a_key(ros, keys):
    with pytest.raises(ConfigurationError, match="set the parameter 'key' too"):
        node_of(ros, AttentionNode, require_signatures='true')


def test_attention_uses_images_of_a_driver_that_cannot_sign_on_request(ros, keys):
    crops = ros.collect(CropArray, 'cam0/crops')
    required = {'require_signatures': 'true', 'unsigned_images': 'true'}
    node = node_of(ros, AttentionNode, key=keys, keys=keys, **required)
    assert node._report()[2]['signing'] == 'begins here: images are not authenticated'
    driver = ros.node.create_publisher(Image, 'cam0/image_raw', 10)
    ros.wait_for(driver.get_subscription_count, 'attention')
    driver.publish(black_image_at(time.time_ns()))
    ros.wait_for(lambda: crops, 'its crops')


def judged(images, keys, used):
    """Give an image input signed and forged images; `used` counts those that the node uses."""
    receiver, now = images._guard, time.time_ns()
    other, first, last = (black_image_at(now + n * 10**9) for n in range(3))
    receiver.receive(other, b'forger')
    give(receiver, signature_of(keys, other, 'cam1'))
    assert used() == 0
    give(receiver, signature_of(keys, first))
    receiver.receive(first, CAMERA)
    assert used() == 1
    assert images._monitor._rejected == 1, 'the image before it'
    receiver.receive(last, ProcessId(b'x'))
    return used()


def test_slots_are_those_of_signed_images(ros, keys, tmp_path):
    export_tiny_slots(tmp_path, slot_dim=64)
    model = tmp_path / 'model'
    node = node_of(ros, SlotsNode, keys=keys, model=model, require_signatures='true')
    assert judged(node._images, keys, lambda: node._rate.count) == 2


def test_maps_of_zspace_are_those_of_signed_images(ros, keys):
    node = ros.make(ZspaceNode, keys=keys, require_signatures='true')
    assert judged(node._sources['cam0'], keys, lambda: len(node._images)) == 1
    own = {'require_signatures': 'true', 'camera_entities': 'cam0=cam1,cam1=cam0', 'keys': keys}
    node = ros.make(ZspaceNode, **own)
    assert judged(node._sources['cam1'], keys, lambda: len(node._images)) == 1
    driver = ros.make(ZspaceNode, **own, unsigned_images='true')
    assert driver._sources['cam0']._guard is None
