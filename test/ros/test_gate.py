# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A gate keeps messages out while it is shut, and then hands out the newest."""

from std_msgs.msg import Int64

from sage_perception.ros import qos
from sage_perception.ros.endpoints import Node, Topic
from sage_perception.ros.rate_limit import Gate


class Gated(Node):
    SUBSCRIBES = (
        Topic('gated', Int64, qos.SENSOR_DATA, 'Through the gate.'),
        Topic('free', Int64, qos.DEFAULT, 'Beside it.'),
    )

    def __init__(self, **options):
        super().__init__('gated', **options)
        self.gate, self.gated, self.free = Gate(), [], []
        self.subscribe('gated', lambda m: self.gated.append(m.data), group=self.gate)
        self.subscribe('free', lambda m: self.free.append(m.data))


def test_only_the_newest_message_is_waiting_when_a_gate_opens(ros):
    node = ros.make(Gated)
    gated = ros.node.create_publisher(Int64, 'gated', 10)
    free = ros.node.create_publisher(Int64, 'free', 10)
    ros.wait_for(lambda: gated.get_subscription_count() and free.get_subscription_count(), 'ears')

    def send(*numbers):
        """What is sent beside the gate tells when the executor has seen all."""
        for number in numbers:
            gated.publish(Int64(data=number))
            free.publish(Int64(data=number))
        ros.wait_for(lambda: node.free[-1:] == [numbers[-1]], 'what is free')

    send(1)
    ros.wait_for(lambda: node.gated == [1], 'what comes through an open gate')
    node.gate.is_open = False
    send(2, 3, 4)
    send(5)
    assert node.gated == [1]
    node.gate.is_open = True
    ros.wait_for(lambda: node.gated == [1, 5], 'the newest')
