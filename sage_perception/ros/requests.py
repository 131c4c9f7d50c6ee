# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sends signed requests to the services of nodes that require signatures."""

from __future__ import annotations

from typing import Any

import rclpy
from sage_msgs.srv import Align, Forget

from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.message_form import sign_message
from sage_perception.trust.security.identity import Identity


class RequestFailed(ValueError):
    """A request that was refused, or not answered; the message has the reason."""


def forget(
    node: str,
    identity: Identity,
    timeout_s: float,
    since_ns: int = 0,
    until_ns: int = 0,
    entity: str = '',
    track: int = 0,
) -> int:
    """Have a memory node delete the matching records; return their number.

    0 and '' are no filter. Raises `RequestFailed`. `rclpy` must be initialized.
    """
    request = Forget.Request(
        since=stamp_to_msg(since_ns),
        until=stamp_to_msg(until_ns),
        entity_id=entity,
        track_id=track,
    )
    return _call(Forget, f'{node}/forget', request, identity, timeout_s).forgotten


def align(node: str, identity: Identity, timeout_s: float, receiver: str, sender: str) -> str:
    """Have an arbiter measure how well one entity can use the latents of another; return how.

    `receiver` '' is the arbiter itself. Raises `RequestFailed`. `rclpy` must be initialized.
    """
    request = Align.Request(entity_a=receiver, entity_b=sender)
    return _call(Align, f'{node}/align', request, identity, timeout_s).report.reason


def _call(kind: Any, name: str, request: Any, identity: Identity, timeout_s: float) -> Any:
    node = rclpy.create_node('sage_request')
    try:
        client = node.create_client(kind, name)
        if not client.wait_for_service(timeout_s):
            raise RequestFailed(
                f'service {name} is not available after {timeout_s:g} s: check the name of the '
                'node with ros2 node list, and ROS_DOMAIN_ID'
            )
        signed = sign_message(request, identity, node.resolve_service_name(name))
        future = client.call_async(signed)
        rclpy.spin_until_future_complete(node, future, timeout_sec=timeout_s)
        response = future.result()
        if response is None:
            raise RequestFailed(f'service {name} did not answer within {timeout_s:g} s')
        if not response.success:
            raise RequestFailed(f'{name}: {response.message}')
        return response
    finally:
        node.destroy_node()
