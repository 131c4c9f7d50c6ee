# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sends signed requests to the services of nodes that require signatures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import rclpy
from rclpy.parameter import Parameter
from sage_msgs.msg import LCT, LCTArray
from sage_msgs.srv import Align, Control, Forget, Remember

from sage_perception.ros import qos
from sage_perception.ros.conversions.lct_arrays import lct_messages
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


def remember(node: str, identity: Identity, timeout_s: float, topic: str, track: int = 0) -> str:
    """Have a memory node store the next LCT on `topic`, of a track if it is not 0; return which.

    Raises `RequestFailed`. `rclpy` must be initialized.
    """
    lct = _next_lct(topic, track, timeout_s)
    _call(Remember, f'{node}/remember', Remember.Request(lct=lct), identity, timeout_s)
    return f'{lct.entity_id}, track {lct.latent.track_id}'


def align(node: str, identity: Identity, timeout_s: float, receiver: str, sender: str) -> str:
    """Have an arbiter measure how well one entity can use the latents of another; return how.

    `receiver` '' is the arbiter itself. Raises `RequestFailed`. `rclpy` must be initialized.
    """
    request = Align.Request(entity_a=receiver, entity_b=sender)
    return _call(Align, f'{node}/align', request, identity, timeout_s).report.reason


def set_parameters(
    node: str, identity: Identity, timeout_s: float, values: Mapping[str, object]
) -> None:
    """Set parameters of a node, all or none.

    Values are bool, int, float, str, or lists of one of these. Raises `RequestFailed`. `rclpy`
    must be initialized.
    """
    request = Control.Request()
    for name, value in values.items():
        try:
            request.parameters.append(Parameter(name, value=value).to_parameter_msg())
        except (TypeError, AssertionError):
            raise RequestFailed(
                f'{name}: {value!r} is not a value of a parameter: give true, false, a number, '
                'text, or a list of one of these'
            ) from None
    _call(Control, f'{node}/control', request, identity, timeout_s)


def change_state(node: str, identity: Identity, timeout_s: float, transition: int) -> None:
    """Have a lifecycle node perform a transition, one of `lifecycle_msgs/Transition`.

    Raises `RequestFailed`. `rclpy` must be initialized.
    """
    request = Control.Request(transition=transition)
    _call(Control, f'{node}/control', request, identity, timeout_s)


def _next_lct(topic: str, track: int, timeout_s: float) -> LCT:
    node = rclpy.create_node('sage_request')
    found: list[LCT] = []

    def receive(message: LCTArray) -> None:
        try:
            lcts = lct_messages(message)
        except ValueError:  # the next array may be valid
            return
        found.extend(lct for lct in lcts if track in (0, lct.latent.track_id))

    try:
        node.create_subscription(LCTArray, topic, receive, qos.DEFAULT)
        deadline = time.monotonic() + timeout_s
        while not found and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        node.destroy_node()
    if not found:
        wanted = f'LCT of track {track}' if track else 'LCT'
        raise RequestFailed(f'no {wanted} on {topic} within {timeout_s:g} s: check the topic')
    return found[0]


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
