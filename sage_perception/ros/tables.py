# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of the tables in which a node class declares its topics and services."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from rclpy.qos import QoSProfile


@dataclass(frozen=True)
class Topic:
    """A topic that a node publishes or subscribes to; `{camera}` stands for each camera."""

    name: str
    type: type
    qos: QoSProfile
    description: str


@dataclass(frozen=True)
class Service:
    """A service that a node offers."""

    name: str
    type: type
    description: str


Row = TypeVar('Row', Topic, Service)


def row_named(table: Iterable[Row], name: str) -> Row:
    """Return the row of a table with a name, which must exist."""
    return next(row for row in table if row.name == name)
