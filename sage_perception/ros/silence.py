# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Explain why a subscription receives no messages, from the publishers in the ROS graph."""

from __future__ import annotations

from difflib import get_close_matches

from rclpy.node import Node

MAX_SUGGESTIONS = 3
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_IMAGE = 'sensor_msgs/msg/Image'


def type_text(kind: type) -> str:
    """Return the name of a message type, such as 'sensor_msgs/msg/Image'."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def explain_silence(node: Node, topic: str, expected: str) -> str:
    """Return the probable cause in words, and the fix.

    Args:
        node: the node that subscribes.
        topic: resolved name of the topic.
        expected: type of the subscription, such as 'sensor_msgs/msg/Image'.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f'no publisher; {_advice(node, topic, expected)}'
    types = sorted({publisher.topic_type for publisher in publishers})
    if expected in types:
        count = len(publishers)
        return f'{count} publisher{"s" if count > 1 else ""}, but no message arrived'
    fix = 'remap the topic'
    if expected == _IMAGE and types == [_COMPRESSED]:
        raw = topic.removesuffix('/compressed')
        fix = 'set image_transport to auto'
        if raw != topic:  # a transport appends its name to the topic
            fix = f'use {raw}' if node.count_publishers(raw) else f'use {raw}, and {fix}'
    return f'its publisher has the type {", ".join(types)}, not {expected}; {fix}'


def _advice(node: Node, topic: str, expected: str) -> str:
    own = dict(node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace()))
    names = [
        name
        for name, types in node.get_topic_names_and_types()
        if expected in types and name not in own and node.count_publishers(name)
    ]
    if not names:
        return f'no other topic has the type {expected}: start the publisher'
    near = get_close_matches(topic, names, MAX_SUGGESTIONS, cutoff=0.5)
    if near:
        return f'did you mean {" or ".join(near)}?'
    shown = ', '.join(sorted(names)[:MAX_SUGGESTIONS])
    return f'topics of this type are {shown}{", ..." if len(names) > MAX_SUGGESTIONS else ""}'
