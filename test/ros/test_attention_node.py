# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The attention node in this process."""

import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from sage_msgs.msg import CropArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception.core.track_ids import IDS_PER_S, MAX_ID, first_track_id
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.vision.synthetic import SyntheticWorld


def feed_attention(ros, publisher, world, begin, count):
    for number in range(begin, begin + count):
        image = world.render(number / 30, number)
        header = Header(stamp=stamp_to_msg(10**9 + number * 33_333_333), frame_id='camera')
        publisher.publish(image_to_msg(image, 'bgr8', header))


def test_rejects_malformed_images_and_continues(ros, capfd):
    crops = ros.collect(CropArray, 'crops', 100)
    health = ros.collect(DiagnosticArray, '/diagnostics')
    images = ros.node.create_publisher(Image, 'image_raw', 100)
    # Reliable and deep, so that no image is skipped.
    override = 'qos_overrides./image_raw.subscription'
    ros.make(
        AttentionNode,
        '-p',
        f'{override}.reliability:=reliable',
        '-p',
        f'{override}.depth:=9',
    )
    ros.wait_for(images.get_subscription_count, 'a subscriber')
    good = image_to_msg(np.zeros((120, 160, 3), np.uint8), 'bgr8', Header(frame_id='good'))
    bad = [
        Image(),
        Image(encoding='bgr8', width=160, height=120, step=480),
        Image(encoding='32FC1', width=1, height=1, step=4, data=bytes(4)),
        image_to_msg(np.zeros((8, 8, 3), np.uint8), 'bgr8', Header()),
    ]
    for message in bad:
        images.publish(message)
        images.publish(good)
    ros.wait_for(lambda: len(crops) == len(bad), 'crops')
    assert {array.header.frame_id for array in crops} == {'good'}
    count = len(health)
    ros.wait_for(lambda: len(health) > count, 'diagnostics')
    values = {pair.key: pair.value for pair in health[-1].status[0].values}
    assert (values['received'], values['rejected']) == ('8', '4')
    assert "/image_raw: encoding '' is unknown" in capfd.readouterr().err


def test_parameters_apply_at_run_time(ros):
    crops = ros.collect(CropArray, 'crops', 100)
    images = ros.node.create_publisher(Image, 'image_raw', 100)
    ros.make(AttentionNode)
    ros.wait_for(images.get_subscription_count, 'a subscriber')
    world = SyntheticWorld(seed=2, width=320, height=240)
    earliest = first_track_id(time.time() - 3600)

    def sides(begin):
        feed = iter(range(begin, begin + 3000))

        def step():
            feed_attention(ros, images, world, next(feed), 1)
            return crops and crops[-1].crops and {c.image.width for c in crops[-1].crops}

        return ros.wait_for(step, 'crops')

    assert sides(0) == {64}
    # The ids are those of this start, not of an earlier node.
    assert all((c.track_id - earliest) % MAX_ID < 3601 * IDS_PER_S + 100 for c in crops[-1].crops)
    before = ros.ask(
        SetParametersAtomically,
        'under_test/set_parameters_atomically',
        parameters=[Parameter('min_roi_px', value=4000).to_parameter_msg()],
    ).result
    assert not before.successful
    assert 'max_roi_px' in before.reason
    after = ros.ask(
        SetParametersAtomically,
        'under_test/set_parameters_atomically',
        parameters=[Parameter('crop_size', value=32).to_parameter_msg()],
    ).result
    assert after.successful
    crops.clear()
    assert sides(3000) == {32}
