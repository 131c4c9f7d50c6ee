# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The status of a node's parts on /diagnostics."""

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from sage_perception.ros import qos
from sage_perception.ros.diagnostics import OK
from sage_perception.ros.endpoints import Node
from sage_perception.ros.tables import Topic


class Healthy(Node):
    """Has an input and a part with two values."""

    SUBSCRIBES = (Topic('image', Image, qos.DEFAULT, 'Images.'),)

    def __init__(self, **options):
        super().__init__('healthy', **options)
        self.subscribe('image', lambda message: None, timeout_s=0)
        self.diagnostics.add('motor', lambda: (OK, 'running', {'number': 2, 'length_m': 1 / 3}))


def test_each_part_is_published_once_a_second_with_its_name(ros):
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(Healthy, namespace='robot1/cam0')
    ros.wait_for(lambda: len(health) >= 3, 'three reports')
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in health]
    assert np.diff(stamps).mean() > 0.5
    motor = {status.name: status for status in health[0].status}['robot1/cam0/under_test: motor']
    assert (motor.level, motor.message) == (OK, 'running')
    assert motor.hardware_id == 'robot1/cam0/under_test'
    assert {v.key: v.value for v in motor.values} == {'number': '2', 'length_m': '0.333'}
    assert [status.name for status in health[0].status] == [
        'robot1/cam0/under_test: input image',
        'robot1/cam0/under_test: callbacks',
        'robot1/cam0/under_test: process',
        'robot1/cam0/under_test: motor',
    ]


def test_published_while_simulated_time_stands_still(ros):
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(Healthy, '-p', 'use_sim_time:=true')
    ros.wait_for(lambda: len(health) >= 2, 'two reports')
