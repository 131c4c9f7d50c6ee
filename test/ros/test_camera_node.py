# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The camera node in this process."""

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import ClockType
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from sage_perception.nodes.camera_node import CameraNode
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.run import run

SMALL = 'source:=synthetic://?seed=1&width=160&height=120'


@pytest.mark.usefixtures('keep_signals')
def test_lost_camera_ends_the_node_without_reconnect(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((48, 64, 3), number, np.uint8))

    class Doomed(CameraNode):
        def activate(self):
            super().activate()
            (tmp_path / '1.png').unlink()

    source = f'source:=images://{tmp_path}?fps=50'
    with pytest.raises(RuntimeError, match=r'camera lost: .*1\.png'):
        run(Doomed, ['--ros-args', '-p', source, '-p', 'reconnect:=false'])


def test_images_have_camera_info_and_frame_id(ros):
    images, infos = (
        ros.collect(Image, 'robot1/left/image_raw'),
        ros.collect(CameraInfo, 'robot1/left/camera_info'),
    )
    ros.make(CameraNode, '-p', SMALL, namespace='robot1/left')
    ros.wait_for(lambda: len(images) > 3 and len(infos) > 3, 'images')
    image = images[2]
    assert image.header.frame_id == 'left_optical_frame'
    assert (image.encoding, image.width, image.height, image.step) == ('bgr8', 160, 120, 480)
    assert image.header in [info.header for info in infos]
    assert (infos[0].width, infos[0].height) == (160, 120)
    stamps = [stamp_from_msg(image.header.stamp) for image in images]
    assert stamps == sorted(set(stamps))
    now = ros.node.get_clock().now().nanoseconds
    assert 0 < now - stamps[-1] < 60e9


def test_publishes_nothing_before_simulated_time_starts(ros):
    images, infos = ros.collect(Image, 'image_raw'), ros.collect(CameraInfo, 'camera_info')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    node = ros.make(CameraNode, '-p', SMALL, '-p', 'use_sim_time:=true')
    ros.wait_for(lambda: len(health) >= 2, 'two reports')
    assert node.get_clock().clock_type == ClockType.ROS_TIME
    assert not images
    assert not infos
    clock = ros.node.create_publisher(Clock, '/clock', 10)
    seconds = 500
    ros.wait_for(
        lambda: clock.publish(Clock(clock=stamp_to_msg(seconds * 10**9))) or (images and infos),
        'images',
    )
    assert all(abs(stamp_from_msg(i.header.stamp) * 1e-9 - seconds) < 10 for i in images + infos)
