# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of an encoder process that encodes."""

import subprocess
import sys

import numpy as np
import psutil
import pytest
from sage_msgs.msg import Crop, CropArray, LCTArray
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception.bringup.graph import NodeSpec
from sage_perception.ros.images import image_to_msg

LIMIT_MB = 100.0
BARE = """
import sys, rclpy
from rclpy.node import Node
rclpy.init()
node = Node('bare')
print('ready', flush=True)
sys.stdin.read()
"""


def pss_mb(pid):
    try:
        return psutil.Process(pid).memory_full_info().pss / 1e6
    except (psutil.AccessDenied, AttributeError):
        pytest.skip('the kernel does not report the proportional set size')


def test_an_encoder_needs_less_than_100_mb_more_than_a_bare_node(run_graph, record_property):
    graph = run_graph([NodeSpec('sage_perception', 'encoder_node', 'encoder', 'cam0')])
    lcts = graph.collect(LCTArray, 'cam0/lcts')
    crops = graph.ros.node.create_publisher(CropArray, 'cam0/crops', 3)
    images = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), np.uint8)
    array = CropArray(
        crops=[
            Crop(
                image=image_to_msg(image, 'rgb8', Header()),
                roi=RegionOfInterest(x_offset=64 * n, width=64, height=64),
                track_id=n + 1,
            )
            for n, image in enumerate(images)
        ]
    )

    def encoded():
        crops.publish(array)
        return len(lcts) >= 30

    graph.wait_for(encoded, 'LCTs')
    with subprocess.Popen(
        [sys.executable, '-c', BARE],
        env=graph.runner.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as bare:
        assert bare.stdout.readline() == 'ready\n'
        excess_mb = pss_mb(graph.pid('cam0/encoder')) - pss_mb(bare.pid)
        bare.stdin.close()
    record_property('excess_mb', round(excess_mb, 1))
    assert 0 < excess_mb < LIMIT_MB
