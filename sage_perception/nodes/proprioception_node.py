# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that publishes the joint states of the robot as LCTs."""

from __future__ import annotations

import sys
from typing import Any

from sage_msgs.msg import LCTArray
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Header

from sage_perception.core.lct import LCT
from sage_perception.puzzle.joints import parse_joints
from sage_perception.puzzle.proprioception import ProprioceptionSpace
from sage_perception.ros import qos
from sage_perception.ros.body_state import BodyStates
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import node_identity
from sage_perception.ros.node_parameters.proprioception import PROPRIOCEPTION, check_joints
from sage_perception.ros.run import run
from sage_perception.ros.tables import Topic


class ProprioceptionNode(Node):
    """Standardizes joint states and inertial measurements by the limits of the joints."""

    PARAMETERS = PROPRIOCEPTION
    SUBSCRIBES = (
        Topic('joint_states', JointState, qos.SENSOR_DATA_SHARED, 'States of the joints.'),
        Topic('imu', Imu, qos.SENSOR_DATA, 'Inertial measurements, with `use_imu`.'),
    )
    PUBLISHES = (
        Topic('proprioception', LCTArray, qos.DEFAULT, 'The 32-D latent of the body, as an LCT.'),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any):
        super().__init__('proprioception', **options)

    def setup(self) -> None:
        """Create the space and the endpoints."""
        serve_control(self)
        parameters = self.parameters
        joints = parse_joints(parameters.joints)
        try:
            self._space = ProprioceptionSpace(joints, parameters.use_imu)
        except ValueError as error:
            raise ConfigurationError(f"parameter 'joints': {error}") from error
        self._identity = node_identity(self)
        self._states = BodyStates(joints, parameters.max_age_s)
        self._published_ns = 0
        self._trust = 0.0
        self._lcts = self.publisher('proprioception')
        self._joint_states = self.subscribe('joint_states', self._receive_joints)
        if parameters.use_imu:
            self.subscribe('imu', self._states.add_imu)
        self.add_timer(1 / parameters.rate, self._publish)
        self.diagnostics.add('proprioception', self._report)

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Raise `ValueError` for joints that are not valid."""
        check_joints(values)

    def _receive_joints(self, message: JointState) -> None:
        try:
            self._states.add(message)
        except ValueError as error:
            self._joint_states.reject(str(error))

    def _publish(self) -> None:
        """Publish the newest state if there is a new one."""
        stamp_ns = self._states.stamp_ns
        state = self._states.newest() if stamp_ns != self._published_ns else None
        if state is None:
            return
        self._published_ns = stamp_ns
        identity = self._identity
        latent = self._space.encode(state)
        self._trust = latent.telemetry.trust
        lct = LCT.encoded(
            latent,
            entity_id=identity.entity_id,
            sequence=identity.next_sequence(),
            stamp_ns=stamp_ns,
        )
        header = Header(stamp=stamp_to_msg(stamp_ns))
        self._lcts.publish(LCTArray(header=header, lcts=[lct_to_msg(identity.sign(lct))]))

    def _report(self) -> Status:
        figures = {
            'joints': len(self._space.joints),
            'quantities': ', '.join(self._space.groups),
            'trust': self._trust,
            'model': str(self._space.id),
            'public_key': self._identity.public_key,
        }
        if not self._published_ns:
            return WARN, 'no joint states', figures
        if self._trust < 1:
            return WARN, 'some values are missing or exceed their limits', figures
        return OK, 'publishing' if self._identity.key else 'publishing, unsigned', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(ProprioceptionNode, args))


if __name__ == '__main__':
    main()
