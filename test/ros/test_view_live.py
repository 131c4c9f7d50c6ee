# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage view --live`: topics are found and drawn with the QoS of their publishers."""

import numpy as np
import pytest
from sage_msgs.msg import CropArray, ModelInfo, TrustReport
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.ros import qos
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.viewing.live import GraphDrawer
from sage_perception.viewing.scene import Scene


class Items:
    """The items that would be logged to Rerun, by path."""

    def __init__(self):
        self.paths: dict[str, list] = {}
        self.cameras: list = []

    def write(self, timed, log_time_ns):
        assert log_time_ns > 0
        self.paths.setdefault('/'.join(timed.item.path), []).append(timed)

    def arrange(self, cameras):
        self.cameras = list(cameras)


def near(timed) -> int:
    """Return the largest difference of an image from gray level 90."""
    return np.abs(timed.item.image.astype(int) - 90).max()


@pytest.fixture
def header():
    made = Header(frame_id='cam0')
    made.stamp.sec = 5
    return made


def test_draws_the_topics_that_appear(ros, header):
    items, log = Items(), []
    drawer = GraphDrawer(ros.node, Scene(LatentDecoder()), items, log.append)
    image = np.full((24, 32, 3), 90, np.uint8)
    messages = {
        '/cam0/image_raw': (Image, image_to_msg(image, 'bgr8', header), qos.SENSOR_DATA),
        '/cam0/image_raw/compressed': (
            CompressedImage,
            jpeg_to_msg(image, header),
            qos.SENSOR_DATA,
        ),
        '/cam0/crops': (
            CropArray,
            CropArray(header=header, source_width=32, source_height=24, fault=1),
            qos.SENSOR_DATA,
        ),
        '/cam0/residuals': (CropArray, CropArray(header=header), qos.SENSOR_DATA),
        '/cam0/model_info': (ModelInfo, ModelInfo(header=header, backend='b'), qos.LATCHED),
        '/trust_report': (
            TrustReport,
            TrustReport(header=header, entity_b='cam0', reputation=0.5),
            10,
        ),
    }
    publishers = {
        topic: ros.node.create_publisher(kind, topic, profile)
        for topic, (kind, _, profile) in messages.items()
    }

    def complete():
        header.stamp.sec += 1  # the messages share their header
        for topic, publisher in publishers.items():
            publisher.publish(messages[topic][1])
        if items.paths.get('cam0/image', [])[-1:] and near(items.paths['cam0/image'][-1]) > 6:
            return False  # composed of the crops, until the first image
        return {'cam0/image', 'cam0/regions', 'reports/cam0/reputation', 'log/cam0'} <= set(
            items.paths
        )

    ros.wait_for(complete, 'the items of all topics')
    assert items.cameras == [('cam0',)]
    assert drawer.count >= 4
    # Of an image topic and its compressed form only the latter is received.
    named = ' '.join(log)
    assert '/cam0/image_raw/compressed' in named
    assert '/cam0/image_raw (' not in named
    assert '/cam0/residuals' not in named
    assert 5 * 10**9 < items.paths['cam0/image'][-1].stamp_ns <= header.stamp.sec * 10**9
