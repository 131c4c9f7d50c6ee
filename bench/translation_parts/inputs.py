# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a graph with the nodes of translation needs from outside: joint states and a goal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

RATE_HZ = 30.0
GOAL, GOAL_PERIOD_S = 'look at the red ball', 5.0


@contextlib.contextmanager
def inputs(domain: int | None = None, goal_period_s: float = GOAL_PERIOD_S) -> Iterator[None]:
    """Publish joint states and a goal, in a thread of this process.

    `domain` is the ROS domain; None: that of the environment.
    """
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node('translation_inputs', context=context)
    joints = node.create_publisher(JointState, 'joint_states', 10)
    goals = node.create_publisher(String, 'goal', 10)

    def publish() -> None:
        message = JointState(name=['head_pan', 'head_tilt'], position=[0.0, 0.0])
        message.header.stamp = node.get_clock().now().to_msg()
        joints.publish(message)

    node.create_timer(1 / RATE_HZ, publish)
    node.create_timer(goal_period_s, lambda: goals.publish(String(data=GOAL)))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    stopping = threading.Event()

    def spin() -> None:
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, name='inputs')
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
