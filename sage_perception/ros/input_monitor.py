# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Monitors a subscription: rate, age, skipped and rejected messages, timeouts, QoS mismatches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.subscription import Subscription

from sage_perception.core.text import one_line
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Status
from sage_perception.ros.silence import explain_silence, type_text
from sage_perception.ros.statistics import Durations, Rate

MAX_WAIT_S = 4.0
"""Time until a first message, after which the log warns, seconds."""
OWN_PACKAGE = 'sage_msgs/'
MAX_REASON_CHARS = 300
"""Maximum length of a reason in the log; it may quote a field of any length."""


class InputMonitor:
    """Collects the diagnostics of one subscription.

    The status is a warning after `timeout_s` seconds without a message; 0 disables the warning.
    Messages that have waited longer than `max_age_s` seconds are late; 0: none are.
    `kind` is the message type of the subscription.

    Attributes:
        subscription: the subscription, set after it is created.
        disconnect: ends the deliveries within the process.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        kind: type,
        qos: QoSProfile,
        timeout_s: float,
        max_age_s: float = 0.0,
    ):
        self.subscription: Subscription | None = None
        self.disconnect: Callable[[], None] = lambda: None
        self._node = node
        self._topic = topic
        self._type = type_text(kind)
        self._wait_start: float | None = None
        self._warned = False
        self._qos = qos
        self._timeout_s = timeout_s
        self._max_age_ns = max_age_s * 1e9
        self._late = 0
        self._rate = Rate()
        self._age = Durations()
        self._skipped = 0
        self._rejected = 0
        self._last_reason = ''
        self._last_number: int | None = None
        self._last_time = time.monotonic()
        self._mismatch = ''

    def is_late(self, info: dict[str, Any] | None) -> bool:
        """Return whether a message has waited too long since the middleware received it.

        Late messages are counted. Without a time in `info`, messages are not late.
        """
        received_ns = (info or {}).get('received_timestamp', 0)
        late = 0 < self._max_age_ns < time.time_ns() - received_ns and received_ns > 0
        self._late += late
        return late

    def received(self, message: Any, info: dict[str, Any] | None) -> None:
        """Count a message, and the messages that were skipped since the last one.

        `info` is the message info of rclpy; None if the middleware gives none.
        """
        self._rate.tick()
        if self._warned:
            self._warned = False
            self._node.get_logger().info(f'messages on {self.name} arrive')
        self._last_time = time.monotonic()
        number = (info or {}).get('publication_sequence_number')
        if number is not None:
            # A restarted publisher counts from 1 again, which is not a gap.
            if self._last_number is not None and number > self._last_number:
                self._skipped += number - self._last_number - 1
            self._last_number = number
        if hasattr(message, 'header'):
            # In integers: `rclpy.time.Time` rejects negative stamps, which messages can hold.
            now_ns = self._node.get_clock().now().nanoseconds
            self._age.add((now_ns - stamp_from_msg(message.header.stamp)) * 1e-9)

    @property
    def has_received(self) -> bool:
        """Return whether a message has arrived."""
        return self._rate.count > 0

    def reject(self, reason: str) -> None:
        """Count a message that cannot be used, and log the reason at most every five seconds."""
        self._rejected += 1
        reason = one_line(reason)[:MAX_REASON_CHARS]
        self._last_reason = reason
        self._node.get_logger().warning(
            f'{self.name}: {reason} ({self._rejected} rejected so far)', throttle_duration_sec=5.0
        )

    def incompatible(self, event: Any) -> None:
        """Log the publishers with an incompatible QoS; called for that event."""
        reasons = [
            qos_check_compatible(endpoint.qos_profile, self._qos)[1]
            for endpoint in self._node.get_publishers_info_by_topic(self.name)
            if qos_check_compatible(endpoint.qos_profile, self._qos)[0] == QoSCompatibility.ERROR
        ]
        reason = '; '.join(reasons) or f'policy {getattr(event, "last_policy_kind", "unknown")}'
        self._mismatch = (
            f'incompatible QoS on {self.name}: {reason.strip("; ")}; '
            f'no messages are received. Set qos_overrides.{self.name}.subscription.reliability '
            'to best_effort, or change the QoS of the publisher'
        )
        self._node.get_logger().error(self._mismatch)

    def check(self, active: bool) -> None:
        """Log one warning if no first message has arrived in time; call it every second.

        The time counts while the node is `active`. The log does not mention a topic of this suite
        that has a publisher: that node logs its own missing input.
        """
        now = time.monotonic()
        if not active or self._wait_start is None:
            self._wait_start = now if active else None
            return
        waited = now - self._wait_start >= MAX_WAIT_S
        if self._warned or self._rate.count or not self._timeout_s or not waited:
            return
        if self._type.startswith(OWN_PACKAGE) and self._node.count_publishers(self.name):
            return
        self._warned = True
        if not self._mismatch:  # already logged
            cause = explain_silence(self._node, self.name, self._type)
            self._node.get_logger().warning(f'no messages on {self.name}: {cause}')

    @property
    def name(self) -> str:
        """Return the resolved name of the topic."""
        return self.subscription.topic_name if self.subscription else self._topic

    @property
    def skipped(self) -> int:
        """Return the number of published messages that were not received."""
        return self._skipped

    def report(self) -> tuple[str, Status]:
        """Return the name of the diagnostics part and its status."""
        values = {
            'topic': self.name,
            'received': self._rate.count,
            'rate_hz': self._rate.hz,
            'skipped': self._skipped,
            'late': self._late,
            'rejected': self._rejected,
            'age_p50_ms': self._age.percentile_ms(50),
            'age_p95_ms': self._age.percentile_ms(95),
        }
        silent_s = time.monotonic() - self._last_time
        level, message = OK, f'{self._rate.hz:.1f} Hz'
        if self._timeout_s and silent_s > self._timeout_s:
            level = WARN
            if self._mismatch and self._node.count_publishers(self.name):
                level, message = ERROR, self._mismatch
            else:
                cause = explain_silence(self._node, self.name, self._type)
                message = f'no messages on {self.name} for {silent_s:.0f} s: {cause}'
        elif self._rejected and self._last_reason:
            level, message = WARN, f'rejected: {self._last_reason}'
            self._last_reason = ''
        return f'input {self._topic}', (level, message, values)
