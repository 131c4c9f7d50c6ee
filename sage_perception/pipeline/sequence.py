# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of entity names and sequence numbers for LCTs."""

from __future__ import annotations

from typing import Protocol


class SequenceSource(Protocol):
    """An entity that numbers its LCTs; `sage_perception.ros.identity.Identity` is one."""

    @property
    def entity(self) -> str:
        """Return the entity id."""
        ...

    def next(self) -> int:
        """Return the next sequence number, larger than all before."""
        ...


class SequenceCounter:
    """A sequence source for use without ROS; it counts from `start` + 1."""

    def __init__(self, entity: str, start: int = 0):
        self._entity, self._last = entity, start

    @property
    def entity(self) -> str:
        """Return the entity id."""
        return self._entity

    def next(self) -> int:
        """Return the next sequence number."""
        self._last += 1
        return self._last
