# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Guards that limit the publishers of a subscription, and throttled log messages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from rclpy.node import Node

from sage_perception.trust.security.rate_limit import PublisherQuota, PublisherRateLimiter
from sage_perception.trust.security.rejection import RejectionReason, explain

WARN_PERIOD_S = 5.0
Reject = Callable[[RejectionReason], object]
Message = TypeVar('Message')
Accepted = TypeVar('Accepted')


class QuotaGuard:
    """The guard of a subscription to a latched topic; see `PublisherQuota`.

    `reject` is called for each message that is not read.
    """

    def __init__(self, reject: Reject) -> None:
        self._quota = PublisherQuota()
        self._reject = reject

    def admits(self, publisher: bytes) -> bool:
        """Return whether to deserialize a message of `publisher`."""
        admitted = self._quota.admits(publisher)
        if not admitted:
            self._reject(RejectionReason.RATE_LIMITED)
        return admitted

    def note_malformed(self, publisher: bytes) -> None:
        """Do nothing: the message took a token when it was admitted."""


class RateLimitGuard:
    """The guard of a subscription to LCT arrays; see `PublisherRateLimiter`.

    `reject` is called for each array that is not read to its end, and for each message that cannot
    be deserialized.
    """

    def __init__(self, reject: Reject) -> None:
        self._limiter = PublisherRateLimiter()
        self._reject = reject

    def admits(self, publisher: bytes) -> bool:
        """Return whether to deserialize a message of `publisher`."""
        admitted = self._limiter.admits(publisher)
        if not admitted:
            self._reject(RejectionReason.RATE_LIMITED)
        return admitted

    def note_malformed(self, publisher: bytes) -> None:
        """Count a message of `publisher` that cannot be deserialized."""
        self.note_rejected(publisher)
        self._reject(RejectionReason.MALFORMED)

    def note_rejected(self, publisher: bytes) -> None:
        """Count a message of `publisher` that is rejected as a whole."""
        self._limiter.note(publisher, accepted=False)

    def note_empty_array(self, publisher: bytes) -> None:
        """Count an array without LCTs, which has no signature, as a rejected LCT.

        Publishers with an accepted LCT are exempt: a camera may see no objects for a long time.
        """
        if not self._limiter.has_accepted(publisher):
            self._limiter.note(publisher, accepted=False)

    def admit_each(
        self,
        publisher: bytes,
        messages: Iterable[Message],
        admit: Callable[[Message], Accepted | None],
    ) -> list[Accepted]:
        """Return the results of `admit` that are not None, until the publisher is limited."""
        accepted = []
        for message in messages:
            if not self.admits(publisher):
                break
            value = admit(message)
            self._limiter.note(publisher, accepted=value is not None)
            if value is not None:
                accepted.append(value)
        return accepted


class ThrottledWarnings:
    """Logs rejected LCTs, at most once per topic and reason in `WARN_PERIOD_S` seconds.

    The limit is per reason so that a flood of one kind does not hide another.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._last: dict[tuple[str, RejectionReason], float] = {}

    def warn(
        self, topic: str, reason: RejectionReason, entity: str = '', detail: str = ''
    ) -> None:
        """Log the rejection of an LCT of `entity` on `topic`, with the names of both."""
        now = time.monotonic()
        if now - self._last.get((topic, reason), -math.inf) >= WARN_PERIOD_S:
            self._last[topic, reason] = now
            node, name = self._node, self._node.resolve_topic_name(topic)
            node.get_logger().warning(
                f'{node.get_fully_qualified_name()} rejected an LCT on {name}: '
                f'{explain(reason, entity, detail)}'
            )
