# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attention and viewer with raw and with compressed images."""

from functools import partial

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sage_msgs.msg import CropArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.ros import qos
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.ros.local_bus import LocalBus

QOS = QoSProfile(depth=10)


def header(frame_id, ros):
    return Header(frame_id=frame_id, stamp=ros.node.get_clock().now().to_msg())


def jpeg(frame_id, ros):
    return jpeg_to_msg(np.full((120, 160, 3), 90, np.uint8), header(frame_id, ros))


def raw(frame_id, ros):
    return image_to_msg(np.full((60, 80, 3), 90, np.uint8), 'bgr8', header(frame_id, ros))


def publish_until_received(ros, publisher, make, crops):
    """Publish images until crops of one arrive; return these crops."""
    count = len(crops)

    def step():
        publisher.publish(make())
        return len(crops) > count and crops[-1]

    return ros.wait_for(step, 'crops')


@pytest.fixture
def elsewhere():
    """Return a node with a DDS participant of its own: a topic has one type in each of them."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('driver', context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ('topic', 'arguments'),
    [
        ('front/image/compressed', ['-r', 'image_raw:=front/image']),
        ('front/image/compressed', ['-r', 'image_raw:=front/image/compressed']),
        ('image_raw/compressed', ['-p', 'image_transport:=compressed']),
    ],
)
def test_compressed_images_are_used_if_there_are_no_others(ros, elsewhere, topic, arguments):
    crops = ros.collect(CropArray, 'crops', 10)
    publisher = elsewhere.create_publisher(CompressedImage, topic, QOS)
    ros.make(AttentionNode, *arguments)
    array = publish_until_received(ros, publisher, lambda: jpeg('jpeg', ros), crops)
    assert array.header.frame_id == 'jpeg'
    assert (array.source_width, array.source_height) == (160, 120)


def test_the_subscription_of_raw_images_is_replaced(ros, elsewhere):
    crops, bus = ros.collect(CropArray, 'crops', 10), LocalBus()
    node = ros.make(partial(AttentionNode, bus=bus), '-r', 'image_raw:=front/image')
    raw_images = bus.publisher('/front/image', Image, qos.CAMERA)
    assert raw_images.matched == 1
    publisher = elsewhere.create_publisher(CompressedImage, 'front/image/compressed', QOS)
    publish_until_received(ros, publisher, lambda: jpeg('jpeg', ros), crops)
    assert raw_images.matched == 0
    assert node.count_subscribers('/front/image') == 0
    reports = ros.collect(DiagnosticArray, '/diagnostics')
    array = ros.wait_for(lambda: reports and reports[-1], 'diagnostics')
    parts = [status.name.partition(': input ')[2] for status in array.status]
    assert [part for part in parts if 'image' in part] == ['/front/image/compressed']


def test_raw_images_are_preferred(ros):
    crops = ros.collect(CropArray, 'crops', 10)
    images = ros.node.create_publisher(Image, 'image_raw', QOS)
    compressed = ros.node.create_publisher(CompressedImage, 'image_raw/compressed', QOS)
    ros.make(AttentionNode)
    ros.wait_for(images.get_subscription_count, 'attention subscribes')
    array = publish_until_received(ros, images, lambda: raw('raw', ros), crops)
    assert array.header.frame_id == 'raw'
    assert compressed.get_subscription_count() == 0


def test_png_of_sixteen_bits_and_unusable_data(ros, capfd):
    crops = ros.collect(CropArray, 'crops', 10)
    publisher = ros.node.create_publisher(CompressedImage, 'image_raw/compressed', QOS)
    ros.make(AttentionNode, '-p', 'image_transport:=compressed')
    ros.wait_for(publisher.get_subscription_count, 'attention subscribes')
    log = []

    def is_rejected():
        message = CompressedImage(header=header('h264', ros), format='h264', data=bytes(50))
        publisher.publish(message)
        log.append(capfd.readouterr().err)
        return "format 'h264' is not an image that Pillow can read" in ''.join(log)

    ros.wait_for(is_rejected, 'the rejection of H.264')
    pixels = np.full((48, 64), 1000, np.uint16)
    data = cv2.imencode('.png', pixels)[1].tobytes()

    def deep():
        message = CompressedImage(header=header('deep', ros), format='mono16; png compressed')
        message.data = data
        return message

    array = publish_until_received(ros, publisher, deep, crops)
    assert (array.source_width, array.source_height) == (64, 48)
