# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that moves joints as actions in LCTs command, within limits and with a dead-man rule."""

from __future__ import annotations

import sys
from typing import Any

from builtin_interfaces.msg import Duration
from sage_msgs.msg import LCTArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from sage_perception.puzzle.action import ACTION, ACTION_DIM
from sage_perception.puzzle.effector import Effector, Setpoint, State, parse_places
from sage_perception.ros import qos
from sage_perception.ros.body_state import check_arrays
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.packers import plain_packer
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.identity import TrustedKeys
from sage_perception.ros.node_parameters.effector import EFFECTOR
from sage_perception.ros.node_parameters.proprioception import check_joints
from sage_perception.ros.relayed import RelayedVerifier
from sage_perception.ros.run import run
from sage_perception.ros.tables import Topic


class EffectorNode(Node):
    """Publishes trajectories of one point for the joints of the robot."""

    PARAMETERS = EFFECTOR
    SUBSCRIBES = (
        Topic('action', LCTArray, qos.DEFAULT, 'Actions, LCTs of kind ACTION.'),
        Topic('joint_states', JointState, qos.SENSOR_DATA_SHARED, 'Positions of the joints.'),
    )
    PUBLISHES = (
        Topic(
            'joint_trajectory',
            JointTrajectory,
            qos.DEFAULT,
            'Commands; none without a fresh, trusted action and fresh joint states.',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any):
        super().__init__('effector', **options)

    def setup(self) -> None:
        """Create the effector and the endpoints."""
        parameters = self.parameters
        self._effector = Effector(
            parse_places(parameters.joints),
            parameters.min_trust,
            parameters.timeout_s,
            parameters.speed,
        )
        keys = TrustedKeys(self)
        serve_control(self, keys)
        packers = {ACTION.fingerprint: plain_packer(ACTION_DIM)}
        self._verifier = RelayedVerifier(self, 'action', keys, packers)
        self._commands = self.publisher('joint_trajectory')
        self.subscribe('action', self._receive_action, guard=self._verifier)
        self._joint_states = self.subscribe('joint_states', self._receive_joints)
        self.add_timer(1 / parameters.rate, self._command)
        self.diagnostics.add('effector', self._report)

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Raise `ValueError` for joints that are not valid."""
        check_joints(values, parse_places)

    def on_parameters_changed(self) -> None:
        """Apply the new limits."""
        effector, parameters = self._effector, self.parameters
        effector.min_trust, effector.timeout_s = parameters.min_trust, parameters.timeout_s
        effector.speed = parameters.speed

    def _receive_action(self, message: LCTArray, publisher: bytes) -> None:
        now_ns = self.get_clock().now().nanoseconds
        for lct in self._verifier.lcts(message, publisher, now_ns):
            self._effector.add_action(lct, now_ns)

    def _receive_joints(self, message: JointState) -> None:
        try:
            check_arrays(message)
        except ValueError as error:
            self._joint_states.reject(str(error))
            return
        stamp_ns = stamp_from_msg(message.header.stamp)
        for name, position in zip(message.name, message.position, strict=False):
            self._effector.add_position(name, position, stamp_ns)

    def _command(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        setpoint = self._effector.next_setpoint(now_ns, 1 / self.parameters.rate)
        if setpoint is not None:
            self._commands.publish(_trajectory(setpoint, now_ns))

    def _report(self) -> Status:
        effector = self._effector
        figures = {'state': effector.state.value, 'joints': len(effector.joints)}
        figures |= {f'not followed: {reason}': n for reason, n in effector.refused.items()}
        level = OK if effector.state is not State.NO_POSITION else WARN
        return level, effector.state.value, figures


def _trajectory(setpoint: Setpoint, now_ns: int) -> JointTrajectory:
    # joint_trajectory_controller rejects a point with velocities, or without some of its joints,
    # unless allow_nonzero_velocity_at_trajectory_end and allow_partial_joints_goal are set.
    names = list(setpoint.positions)
    nanoseconds = round(setpoint.period_s * 1e9)
    point = JointTrajectoryPoint(
        positions=[setpoint.positions[name] for name in names],
        velocities=[setpoint.velocities[name] for name in names],
        time_from_start=Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9),
    )
    header = Header(stamp=stamp_to_msg(now_ns))
    return JointTrajectory(header=header, joint_names=names, points=[point])


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(EffectorNode, args))


if __name__ == '__main__':
    main()
