# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the status of each part of a node on `/diagnostics` (REP-107)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

# The status of one part of a node: level, message, values by key.
Status = tuple[bytes, str, dict[str, Any]]


class Diagnostics:
    """Publishes the status of each part of a node when the node calls `publish`.

    `clock` is a steady clock for the timers of diagnostics, which must also run while simulated
    time stands still.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._inputs: list[Callable[[], tuple[str, Status]]] = []
        self._reports: list[Callable[[], tuple[str, Status]]] = []
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.clock = Clock(clock_type=ClockType.STEADY_TIME)

    def add(self, part: str, report: Callable[[], Status]) -> None:
        """Publish the return value of `report` as the status of `part`."""
        self._reports.append(lambda: (part, report()))

    def add_input(self, report: Callable[[], tuple[str, Status]]) -> None:
        """Publish the name and the status of an input, before those of all parts."""
        self._inputs.append(report)

    def remove_input(self, report: Callable[[], tuple[str, Status]]) -> None:
        """Remove an input that `add_input` added."""
        self._inputs.remove(report)

    def publish(self) -> None:
        """Publish the status of all parts now."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name().lstrip('/')
        for report in (*self._inputs, *self._reports):
            part, (level, message, values) = report()
            array.status.append(
                DiagnosticStatus(
                    level=level,
                    name=f'{name}: {part}',
                    message=message,
                    hardware_id=name,
                    values=[KeyValue(key=k, value=_text(v)) for k, v in values.items()],
                )
            )
        self._publisher.publish(array)


def _text(value: Any) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)
