# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A callback group that receives messages only on demand."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup


class OnDemandGroup(CallbackGroup):
    """A callback group whose subscriptions receive messages only while `is_open` is true.

    Messages that arrive while it is closed are not deserialized: the middleware keeps as many
    as the history depth allows. With a depth of 1, a subscription receives the newest message when
    the group opens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True

    def can_execute(self, entity: Any) -> bool:
        """Return whether the executor may take messages of `entity`."""
        return self.is_open

    def beginning_execution(self, entity: Any) -> bool:
        """Return whether the executor may run the callback of `entity`."""
        return self.is_open

    def ending_execution(self, entity: Any) -> None:
        """Do nothing; the executor calls it after each callback."""
