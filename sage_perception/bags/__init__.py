# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 bags without `ros2 bag`: read, write, repair, record and replay.

Read a bag with:

    from sage_perception.bags.reader import open_bag

    with open_bag('bag') as bag:
        for topic, type_name, log_time_ns, data in bag:
            message = bag.deserialize(topic, data)

This package imports nothing, so that `legacy` can be used where ROS is not installed.
"""
