# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Receives only when asked: for a node that needs fewer messages than are sent."""

from __future__ import annotations

from rclpy.callback_groups import CallbackGroup


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
