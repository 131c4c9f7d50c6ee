# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a node of sage without rate limits, so that each malformed message is read."""

from __future__ import annotations

import copy
import importlib
from typing import Any

from rclpy.qos import QoSProfile

from sage_perception.ros.endpoints import Endpoints
from sage_perception.trust.security.rate_limit import PublisherQuota, TokenBucket

UNLIMITED = 1e9
BURST = 8
"""Messages to a topic that are sent together: subscriptions and services must hold so many."""


def lift_limits() -> None:
    """Lift the limits on messages that are read. Those on answers stay: they are expensive."""
    TokenBucket.RATE = TokenBucket.BURST = UNLIMITED
    for kind in (TokenBucket, PublisherQuota):
        clock, _, _, *others = kind.__init__.__defaults__
        kind.__init__.__defaults__ = (clock, UNLIMITED, UNLIMITED, *others)
    create = Endpoints.create_subscription

    def create_deep(
        node: Endpoints, kind: type, topic: str, callback: Any, qos: Any, **options: Any
    ) -> Any:
        if isinstance(qos, QoSProfile) and qos.depth < 2 * BURST:
            qos = copy.copy(qos)
            qos.depth = 2 * BURST  # the valid messages of the graph need room, too
        return create(node, kind, topic, callback, qos, **options)

    Endpoints.create_subscription = create_deep  # type: ignore[method-assign, assignment]


def run(name: str) -> None:
    """Run the node of an executable, such as 'arbiter_node', with the arguments of the process."""
    lift_limits()
    importlib.import_module(f'sage_perception.nodes.{name}').main()
