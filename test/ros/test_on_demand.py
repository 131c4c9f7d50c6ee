# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""On-demand groups receive nothing while closed, then the newest message."""

from std_msgs.msg import Int64

from sage_perception.ros import qos
from sage_perception.ros.endpoints import Node
from sage_perception.ros.on_demand import OnDemandGroup
from sage_perception.ros.tables import Topic


class OnDemandNode(Node):
    SUBSCRIBES = (
        Topic('grouped', Int64, qos.SENSOR_DATA, 'In the group.'),
        Topic('free', Int64, qos.DEFAULT, 'Outside the group.'),
    )

    def __init__(self, **options):
        super().__init__('on_demand', **options)
        self.group, self.grouped, self.free = OnDemandGroup(), [], []
        self.subscribe('grouped', lambda m: self.grouped.append(m.data), group=self.group)
        self.subscribe('free', lambda m: self.free.append(m.data))


def test_only_the_newest_message_is_received_when_the_group_opens(ros):
    node = ros.make(OnDemandNode)
    grouped = ros.node.create_publisher(Int64, 'grouped', 10)
    free = ros.node.create_publisher(Int64, 'free', 10)
    ros.wait_for(
        lambda: grouped.get_subscription_count() and free.get_subscription_count(), 'subscribers'
    )

    def send(*numbers):
        """Publish on both topics; the free one shows that the executor has handled all."""
        for number in numbers:
            grouped.publish(Int64(data=number))
            free.publish(Int64(data=number))
        ros.wait_for(lambda: node.free[-1:] == [numbers[-1]], 'the free message')

    send(1)
    ros.wait_for(lambda: node.grouped == [1], 'the message of the open group')
    node.group.is_open = False
    send(2, 3, 4)
    send(5)
    assert node.grouped == [1]
    node.group.is_open = True
    ros.wait_for(lambda: node.grouped == [1, 5], 'the newest message')
