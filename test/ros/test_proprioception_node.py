# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The proprioception node: joint states and inertial measurements to signed LCTs."""

import math

import numpy as np
import pytest
from sage_msgs.msg import LCTArray
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Header

from sage_perception.cli import keys
from sage_perception.core.latent import LatentKind
from sage_perception.nodes.proprioception_node import ProprioceptionNode
from sage_perception.puzzle.joints import parse_joints
from sage_perception.puzzle.proprioception import ProprioceptionSpace
from sage_perception.ros.body_state import MAX_NAMES, BodyStates
from sage_perception.ros.conversions.lcts import lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.keys import load_key, public_bytes

JOINTS = ['pan:-1:1:2', 'tilt:-0.5:0.5:2']
SECOND = 10**9


def joint_state(stamp_ns, **positions):
    header = Header(stamp=stamp_to_msg(stamp_ns))
    return JointState(header=header, name=[*positions], position=[*positions.values()])


def test_states_of_several_publishers_are_merged_and_old_ones_are_dropped():
    states = BodyStates(parse_joints(JOINTS), max_age_s=0.2)
    assert states.newest() is None
    states.add(joint_state(SECOND, pan=0.5, wheel=3.0))
    states.add(joint_state(SECOND + 10**8, tilt=0.1))
    assert states.stamp_ns == SECOND + 10**8
    assert states.newest().position.tolist() == [0.5, 0.1]
    states.add(joint_state(2 * SECOND, tilt=0.2))
    assert math.isnan(states.newest().position[0])
    # A bag that starts again, or a simulation.
    states.add(joint_state(SECOND, pan=0.0, tilt=0.3))
    assert states.newest().position.tolist() == [0.0, 0.3]


def test_messages_whose_arrays_do_not_fit_together_are_rejected():
    states = BodyStates(parse_joints(JOINTS), max_age_s=0.2)
    with pytest.raises(ValueError, match='position has 1 values for 2 joints'):
        states.add(JointState(name=['pan', 'tilt'], position=[0.0]))
    with pytest.raises(ValueError, match='at most'):
        states.add(JointState(name=['x'] * (MAX_NAMES + 1)))
    assert states.newest() is None


def test_quantities_that_an_imu_does_not_measure_are_unknown():
    states = BodyStates(parse_joints(JOINTS), max_age_s=0.2)
    states.add(joint_state(SECOND, pan=0.0, tilt=0.0))
    imu = Imu(header=Header(stamp=stamp_to_msg(SECOND)))
    imu.orientation.w, imu.angular_velocity.z = 1.0, 0.5
    imu.linear_acceleration_covariance[0] = -1
    states.add_imu(imu)
    state = states.newest()
    assert state.gravity.tolist() == [0, 0, -1]
    assert state.angular_velocity.tolist() == [0, 0, 0.5]
    assert np.isnan(state.acceleration).all()


def test_node_publishes_a_signed_latent_that_decodes_to_the_joint_states(ros, tmp_path):
    assert keys.main(['create', 'under_test', '--dir', str(tmp_path)]) == 0
    arguments = ('-p', f'joints:={JOINTS}', '-p', f'key:={tmp_path}', '-p', 'rate:=100.0')
    node = ros.make(ProprioceptionNode, *arguments)
    received = ros.collect(LCTArray, 'proprioception')
    publisher = ros.node.create_publisher(JointState, 'joint_states', 10)
    ros.wait_for(publisher.get_subscription_count, 'the node')
    ros.wait_for(lambda: node.count_subscribers('proprioception'), 'the subscriber')
    stamp_ns = node.get_clock().now().nanoseconds
    publisher.publish(JointState(name=['pan', 'tilt'], position=[0.1]))
    publisher.publish(joint_state(stamp_ns, pan=0.25, tilt=-0.5))
    (message,) = ros.wait_for(lambda: list(received), 'a latent')[:1]
    lct = lct_from_msg(message.lcts[0])
    assert lct.latent.kind is LatentKind.PROPRIOCEPTION
    assert lct.stamp_ns == stamp_ns
    # The velocities are unknown.
    assert lct.trust == pytest.approx(2 / 6)
    position = ProprioceptionSpace(parse_joints(JOINTS)).decode(lct.latent).position
    np.testing.assert_allclose(position, [0.25, -0.5], atol=1e-6)
    store = TrustStore()
    store.trust('under_test', public_bytes(load_key(tmp_path, 'under_test')))
    assert verify(lct, store) is None
