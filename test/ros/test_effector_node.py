# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The effector node: verified actions to trajectories, and silence without them."""

import time

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import LCTArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from sage_perception.cli import keys
from sage_perception.core.latent import Latent, LatentKind
from sage_perception.core.lct import LCT
from sage_perception.nodes.effector_node import EffectorNode
from sage_perception.puzzle.action import ACTION, ACTION_DIM
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import sign
from sage_perception.trust.security.keys import load_key

UNTRUSTED_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)


def test_joints_follow_signed_actions_and_stop_without_them(ros, tmp_path):
    assert keys.main(['create', 'brain', '--dir', str(tmp_path)]) == 0
    secret = {'brain': load_key(tmp_path, 'brain'), 'other': UNTRUSTED_KEY}
    node = ros.make(
        EffectorNode,
        *('-p', f'keys:={tmp_path}', '-p', 'require_signatures:=true', '-p', 'timeout_s:=0.4'),
    )
    actions = ros.node.create_publisher(LCTArray, 'action', 10)
    states = ros.node.create_publisher(JointState, 'joint_states', 10)
    received = ros.collect(JointTrajectory, 'joint_trajectory')
    for topic in (actions, states):
        ros.wait_for(topic.get_subscription_count, 'the node')
    ros.wait_for(lambda: node.count_subscribers('joint_trajectory'), 'the subscriber')
    sequence = 0

    def send(pan, entity='brain'):
        nonlocal sequence
        sequence += 1
        stamp_ns = node.get_clock().now().nanoseconds
        header = Header(stamp=stamp_to_msg(stamp_ns))
        states.publish(JointState(header=header, name=['head_pan'], position=[0.0]))
        mean = np.zeros(ACTION_DIM, np.float32)
        mean[0] = pan
        variance = np.r_[np.float32(-8), np.zeros(ACTION_DIM - 1, np.float32)]
        latent = Latent(mean, variance, LatentKind.ACTION, ACTION)
        lct = LCT.encoded(
            latent, entity_id=entity, sequence=sequence, stamp_ns=stamp_ns, trust=0.9
        )
        lct = sign(lct, secret[entity])
        actions.publish(LCTArray(header=header, lcts=[lct_to_msg(lct)]))

    for _ in range(3):
        send(1.0, entity='other')
        time.sleep(0.1)
    assert not received
    for _ in range(5):
        send(1.0)
        time.sleep(0.1)
    ros.wait_for(lambda: len(received) > 3, 'commands')
    positions = [message.points[0].positions[0] for message in received]
    assert received[0].joint_names == ['head_pan']
    # 1 rad/s, at half speed and 20 Hz.
    assert np.diff([0.0, *positions]).max() <= 0.025 + 1e-6
    assert positions[2] > positions[0] > 0
    ros.wait_for(lambda: received[-1].points[0].velocities[0] == 0, 'the stop')
    count = len(received)
    time.sleep(0.3)
    assert len(received) == count
