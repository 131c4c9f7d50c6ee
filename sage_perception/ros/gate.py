# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Receives only when asked, or only from whom it is worth it."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup

from sage_perception.trust.lct import Refusal
from sage_perception.trust.screening import Sieve


class Gate(CallbackGroup):
    """Lets the messages of its subscriptions in while it is open.

    The others cost nothing: they stay with the middleware, which keeps as many as the quality of
    service says. A subscription of depth 1 then hands out the newest.
    """

    def __init__(self):
        super().__init__()
        self.is_open = True

    def can_execute(self, entity) -> bool:
        """Tell the executor whether to look at what is in this group."""
        return self.is_open

    def beginning_execution(self, entity) -> bool:
        """Tell the executor to go on, if it is still wanted."""
        return self.is_open

    def ending_execution(self, entity) -> None:
        """Nothing is to be done."""


class FloodGate(Sieve):
    """Keeps a flood out of a subscription, whose guard it is, and tells of what it keeps out."""

    def __init__(self, refuse: Callable[[Refusal], None]):
        super().__init__()
        self._refuse = refuse

    def admits(self, publisher: bytes) -> bool:
        """Return whether to look at what a publisher says."""
        admitted = super().admits(publisher)
        if not admitted:
            self._refuse(Refusal.FLOOD)
        return admitted

    def garbled(self, publisher: bytes) -> None:
        """Take note of bytes that were no message."""
        self.note(publisher, believed=False)
        self._refuse(Refusal.MALFORMED)
