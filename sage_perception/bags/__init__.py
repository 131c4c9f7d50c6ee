# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bags: record, replay and read rosbag2 recordings without `ros2 bag`.

with open_bag('bag') as bag:
    for topic, type_name, log_time_ns, data in bag:
        message = bag.deserialize(topic, data)
"""

from sage_perception.bags.storage import Bag, BagError, BagMessage, BagTopic, BagWriter, open_bag

__all__ = ['Bag', 'BagError', 'BagMessage', 'BagTopic', 'BagWriter', 'open_bag']
