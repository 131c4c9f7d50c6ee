# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The service that changes parameters and states of nodes by signed requests.

The services of ROS 2 for parameters and lifecycles have no signatures. A node that requires
signatures refuses their requests, and serves these instead, see `sage request`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMessage
from rclpy.parameter import Parameter
from sage_msgs.srv import Control

from sage_perception.core.text import one_line
from sage_perception.ros.authentication import RequestGuard
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.identity import TrustedKeys
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.parameter_services import find_parameter_fault
from sage_perception.ros.tables import Service

CONTROL = Service(
    '~/control',
    Control,
    'Change parameters, or the state of the lifecycle, by a signed request, see `sage request`. '
    'Only with `require_signatures`.',
)


def serve_control(node: Endpoints, keys: TrustedKeys | None = None) -> None:
    """Serve `CONTROL` of a node if its parameter `require_signatures` is true.

    `keys` are the trusted keys of the node; None: those of its parameter `keys`. Raises
    `ConfigurationError` for keys that cannot be used.
    """
    if not node.parameters.require_signatures:
        return
    guard = RequestGuard(node, (keys or TrustedKeys(node)).store)

    def control(request: Control.Request, response: Control.Response) -> Control.Response:
        try:
            guard.require(request, CONTROL.name)
            _set_parameters(node, request.parameters)
            if request.transition:
                _change_state(node, request.transition)
        except ValueError as error:
            response.message = one_line(error)
        else:
            response.success = True
            node.get_logger().info(f'served a request of {request.signature.entity_id!r}')
        return response

    node.serve(CONTROL.name, control)


def _set_parameters(node: Endpoints, messages: Sequence[ParameterMessage]) -> None:
    """Set all parameters, or none; raise `ValueError` with the reason if one is rejected."""
    fault: Any = next(filter(None, map(find_parameter_fault, messages)), '')
    if fault:
        raise ValueError(fault)
    unknown = [message.name for message in messages if not node.has_parameter(message.name)]
    if unknown:
        raise ValueError(f'this node has no parameter {unknown[0][:80]!r}: see ros2 param list')
    if not messages:
        return
    changes = [Parameter.from_parameter_msg(message) for message in messages]
    with node.parameters.signed():
        result = node.set_parameters_atomically(changes)
    if not result.successful:
        raise ValueError(result.reason)


def _change_state(node: Endpoints, transition: int) -> None:
    if not isinstance(node, LifecycleNode):
        raise ValueError('this node has no lifecycle, so it has no states to change')
    node.change_state(transition)
