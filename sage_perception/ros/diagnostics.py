# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a node tells of its health on `/diagnostics`, once a second (REP-107)."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.time import Time

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

# One part of a node's health: level, a sentence, figures.
Report = tuple[bytes, str, dict[str, Any]]


class Rate:
    """How many times a second something happened, over the last `window_s` seconds.

    One thread may note it and another ask.
    """

    def __init__(self, window_s: float = 5.0):
        self.count = 0
        self._lock = threading.Lock()
        self._window_s = window_s
        self._since = time.monotonic()
        self._times: deque[float] = deque()

    def tick(self) -> None:
        """Note that it happened."""
        with self._lock:
            self.count += 1
            self._times.append(time.monotonic())
            self._forget()

    @property
    def hz(self) -> float:
        """Return the rate, Hz."""
        with self._lock:
            self._forget()
            happened = len(self._times)
        span = min(self._window_s, time.monotonic() - self._since)
        return happened / span if span > 0 else 0.0

    def _forget(self) -> None:
        oldest = time.monotonic() - self._window_s
        while self._times and self._times[0] < oldest:
            self._times.popleft()


class Durations:
    """The last `size` durations, for their median and 95th percentile."""

    def __init__(self, size: int = 150):
        self._seconds: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        """Note one duration."""
        self._seconds.append(seconds)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile in milliseconds; NaN when there is none."""
        ordered = sorted(self._seconds)
        if not ordered:
            return math.nan
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1e3


class Input:
    """Watches one subscription: rate, age, what was skipped, and why it is silent."""

    def __init__(self, node, topic: str, qos: QoSProfile, timeout_s: float):
        self.subscription = None
        self._node = node
        self._topic = topic
        self._qos = qos
        self._timeout_s = timeout_s
        self._rate = Rate()
        self._age = Durations()
        self._skipped = 0
        self._rejected = 0
        self._why_rejected = ''
        self._last_number: int | None = None
        self._last_time = time.monotonic()
        self._mismatch = ''

    def received(self, message, info: dict | None) -> None:
        """Note a message, and how many of its publisher's were skipped since the one before."""
        self._rate.tick()
        self._last_time = time.monotonic()
        number = (info or {}).get('publication_sequence_number')
        if number is not None:
            # A restarted publisher begins anew: that is no gap.
            if self._last_number is not None and number > self._last_number:
                self._skipped += number - self._last_number - 1
            self._last_number = number
        if hasattr(message, 'header'):
            now = self._node.get_clock().now()
            age = (now - Time.from_msg(message.header.stamp)).nanoseconds * 1e-9
            self._age.add(age)

    def reject(self, why: str) -> None:
        """Count a message that cannot be used, and say why, at most every five seconds."""
        self._rejected += 1
        self._why_rejected = why
        self._node.get_logger().warning(
            f'{self.name}: {why} ({self._rejected} refused so far)', throttle_duration_sec=5.0
        )

    def incompatible(self, event) -> None:
        """Say which publishers' quality of service does not fit ours."""
        reasons = [
            qos_check_compatible(endpoint.qos_profile, self._qos)[1]
            for endpoint in self._node.get_publishers_info_by_topic(self.name)
            if qos_check_compatible(endpoint.qos_profile, self._qos)[0] == QoSCompatibility.ERROR
        ]
        why = '; '.join(reasons) or f'policy {event.last_policy_kind}'
        self._mismatch = (
            f'incompatible quality of service on {self.name}: {why.strip("; ")} '
            f'Nothing is received; set qos_overrides.{self.name}.subscription.reliability to '
            'best_effort, or change the publisher'
        )
        self._node.get_logger().error(self._mismatch)

    @property
    def name(self) -> str:
        """Return the topic's full name."""
        return self.subscription.topic_name if self.subscription else self._topic

    @property
    def skipped(self) -> int:
        """Return how many messages were published and never seen here."""
        return self._skipped

    def report(self) -> tuple[str, Report]:
        """Return the name of this part and its health."""
        figures = {
            'topic': self.name,
            'received': self._rate.count,
            'rate_hz': self._rate.hz,
            'skipped': self._skipped,
            'refused': self._rejected,
            'age_p50_ms': self._age.percentile_ms(50),
            'age_p95_ms': self._age.percentile_ms(95),
        }
        silent = time.monotonic() - self._last_time
        level, message = OK, f'{self._rate.hz:.1f} Hz'
        publishers = self._node.count_publishers(self.name)
        if self._timeout_s and silent > self._timeout_s:
            level = WARN
            if self._mismatch and publishers:
                level, message = ERROR, self._mismatch
            elif not publishers:
                message = f'nothing on {self.name} for {silent:.0f} s: it has no publisher'
            else:
                message = f'nothing on {self.name} for {silent:.0f} s: {publishers} publisher(s)'
        elif self._rejected and self._why_rejected:
            level, message = WARN, f'refused: {self._why_rejected}'
            self._why_rejected = ''
        return f'input {self._topic}', (level, message, figures)


class Diagnostics:
    """Publishes the health of a node's parts; independent of simulated time and of listeners."""

    def __init__(self, node, period_s: float = 1.0):
        self._node = node
        self._parts: dict[str, Callable[[], Report]] = {}
        self._inputs: list[Input] = []
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # The clock on the wall, for what must go on while simulated time stands still.
        self.clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period_s, self.publish, clock=self.clock)

    def add(self, part: str, report: Callable[[], Report]) -> None:
        """Publish what `report` returns as `part` of the node."""
        self._parts[part] = report

    def watch(self, monitor: Input) -> None:
        """Publish the health of an input."""
        self._inputs.append(monitor)

    def publish(self) -> None:
        """Publish everything now."""
        reports = [monitor.report() for monitor in self._inputs]
        reports += [(part, report()) for part, report in self._parts.items()]
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name().lstrip('/')
        for part, (level, message, figures) in reports:
            array.status.append(
                DiagnosticStatus(
                    level=level,
                    name=f'{name}: {part}',
                    message=message,
                    hardware_id=name,
                    values=[KeyValue(key=k, value=_text(v)) for k, v in figures.items()],
                )
            )
        self._publisher.publish(array)


def _text(value: Any) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)
