# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscriptions from the tables of a node."""

import time

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Int64

from sage_perception.ros import qos
from sage_perception.ros.common_parameters import CAMERA_ENTITIES, CAMERAS
from sage_perception.ros.endpoints import Node
from sage_perception.ros.tables import Topic


def test_qos_override_applies_to_its_topic_only(ros):
    class Both(Node):
        SUBSCRIBES = (Topic('a', Image, qos.DEFAULT, ''), Topic('b', Image, qos.DEFAULT, ''))
        PUBLISHES = (Topic('c', Image, qos.DEFAULT, ''),)

        def __init__(self, **options):
            super().__init__('both', **options)
            for name in ('a', 'b'):
                self.subscribe(name, lambda message: None)
            self.publisher('c')

    node = ros.make(Both, '-p', 'qos_overrides./a.subscription.reliability:=best_effort')

    def reliability(topic):
        found = node.get_subscriptions_info_by_topic(topic)
        found += node.get_publishers_info_by_topic(topic)
        return [endpoint.qos_profile.reliability for endpoint in found]

    assert reliability('/a') == [ReliabilityPolicy.BEST_EFFORT]
    assert reliability('/b') == reliability('/c') == [ReliabilityPolicy.RELIABLE]


def test_camera_entity_is_its_namespace_unless_given(ros):
    class Cameras(Node):
        PARAMETERS = (CAMERAS, CAMERA_ENTITIES)

        def __init__(self, **options):
            super().__init__('cameras', **options)

    arguments = (
        '-p',
        'cameras:=[left, /other/right, back]',
        '-p',
        'camera_entities:=back=fleet/7',
    )
    node = ros.make(Cameras, *arguments, namespace='robot1')
    assert node.camera_entities() == {
        'left': 'robot1/left',
        '/other/right': 'other/right',
        'back': 'fleet/7',
    }


def test_messages_that_waited_too_long_are_dropped_and_counted(ros):
    class Slow(Node):
        SUBSCRIBES = (Topic('numbers', Int64, qos.DEFAULT, ''),)

        def __init__(self, **options):
            super().__init__('slow', **options)
            self.numbers = []
            self.monitor = self.subscribe('numbers', self.take, timeout_s=0, max_age_s=0.2)

        def take(self, message):
            self.numbers.append(message.data)
            time.sleep(0.5)

    node = ros.make(Slow)
    publisher = ros.node.create_publisher(Int64, 'numbers', 10)
    ros.wait_for(publisher.get_subscription_count, 'the subscription')
    for number in range(6):
        publisher.publish(Int64(data=number))

    def values():
        _, (_, _, values) = node.monitor.report()
        return values

    ros.wait_for(lambda: values()['received'] == 6, 'all messages')
    assert node.numbers == [0], 'the others waited for 0.5 s'
    assert values()['late'] == 5
    publisher.publish(Int64(data=6))
    ros.wait_for(lambda: node.numbers == [0, 6], 'a message that did not wait')
