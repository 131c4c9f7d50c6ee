# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The zspace node: maps of the cameras and their weights."""

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray, Header

from sage_perception.nodes.zspace_node import ZspaceNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.vision.synthetic import SyntheticWorld

SIZE = (320, 240)


def test_a_covered_camera_hands_its_weight_over(ros):
    words = ('-p', 'rate:=30.0', '-p', 'weight_time_s:=0.2')
    node = ros.make(ZspaceNode, *words)
    cameras = ('cam0', 'cam1')
    images = [ros.node.create_publisher(Image, f'{c}/image_raw', qos.CAMERA) for c in cameras]
    weights = ros.collect(Float32MultiArray, 'view_weights')
    maps = ros.collect(Image, 'attention_map', qos.VISUALIZATION)
    own = ros.collect(Image, 'cam0/attention_map', qos.VISUALIZATION)
    ros.wait_for(lambda: all(each.get_subscription_count() for each in images), 'the node')
    for topic in ('view_weights', 'attention_map', 'cam0/attention_map'):
        ros.wait_for(lambda t=topic: node.count_subscribers(t), topic)
    world, number = SyntheticWorld(3, objects=2, width=SIZE[0], height=SIZE[1]), 0
    start_ns = node.get_clock().now().nanoseconds

    def show(cover):
        nonlocal number
        number += 1
        header = Header(stamp=stamp_to_msg(start_ns + number * 100_000_000), frame_id='lens')
        image = world.render(0.1 * number, number)
        for place, publisher in enumerate(images):
            shown = np.zeros_like(image) if place == cover else image
            publisher.publish(image_to_msg(shown, 'bgr8', header))

    def both():
        show(None)
        return weights and maps and own

    ros.wait_for(both, 'maps')
    assert weights[0].layout.dim[0].label == 'cam0,cam1,disagreement'
    assert list(weights[0].data) == pytest.approx([0.5, 0.5, 0.0], abs=1e-3)
    assert (maps[0].encoding, maps[0].width, maps[0].height) == ('mono8', 80, 60)
    assert (own[0].encoding, own[0].width, own[0].height) == ('mono8', *SIZE)
    assert max(own[0].data) > 200

    def handed_over():
        show(1)
        return weights[-1].data[0] > 0.9 and weights[-1].data[2] > 0.1

    ros.wait_for(handed_over, 'the weight of the other camera')
    assert sum(weights[-1].data[:2]) == pytest.approx(1)


def test_an_image_that_is_too_small_is_counted_for_its_own_camera(ros):
    node = ros.make(ZspaceNode)
    ros.collect(Float32MultiArray, 'view_weights')
    ros.wait_for(lambda: node.count_subscribers('view_weights'), 'the subscription')
    for camera, side in (('cam0', 32), ('cam1', 8)):
        image = np.zeros((side, 32, 3), np.uint8)
        node._images[camera] = image_to_msg(image, 'bgr8', Header())
    node._project()
    monitors = [node._sources[camera]._monitor for camera in ('cam0', 'cam1')]
    assert not monitors[0]._last_reason
    assert monitors[1]._last_reason == 'image is 32x8 pixels; maps need at least 16x16'
