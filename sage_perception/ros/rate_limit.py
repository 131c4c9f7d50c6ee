# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Receives only when asked, or only from whom it is worth it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from rclpy.callback_groups import CallbackGroup

from sage_perception.trust.security.admission import PublisherQuota, PublisherRateLimiter, explain
from sage_perception.trust.security.rejection import RejectionReason

WARN_PERIOD_S = 5.0
Said = TypeVar('Said')
Believed = TypeVar('Believed')


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


class _Telling:
    """Tells of what is kept out."""

    def __init__(self, refuse: Callable[[RejectionReason], None]):
        super().__init__()
        self._refuse = refuse

    def admits(self, publisher: bytes) -> bool:
        """Return whether to look at what a publisher says."""
        admitted = super().admits(publisher)
        if not admitted:
            self._refuse(RejectionReason.FLOOD)
        return admitted


class QuotaGuard(_Telling, PublisherQuota):
    """Keeps a flood out of a subscription to what is said but once, whose guard it is."""

    def garbled(self, publisher: bytes) -> None:
        """Do nothing: to look at them has cost already."""


class RateLimitGuard(_Telling, PublisherRateLimiter):
    """Keeps a flood out of a subscription to LCTs, whose guard it is."""

    def garbled(self, publisher: bytes) -> None:
        """Take note of bytes that were no message."""
        self.note(publisher, believed=False)
        self._refuse(RejectionReason.MALFORMED)

    def empty(self, publisher: bytes) -> None:
        """Take note of an array without LCTs, which nobody signed.

        It counts against strangers alone: a camera that was believed may see nothing for long.
        """
        if publisher not in self._known:
            self.note(publisher, believed=False)

    def sift(
        self, publisher: bytes, said: Iterable[Said], believe: Callable[[Said], Believed | None]
    ) -> list[Believed]:
        """Return what `believe` makes of what is said, None left out, until it is a flood."""
        believed = []
        for one in said:
            if not self.admits(publisher):
                break
            value = believe(one)
            self.note(publisher, believed=value is not None)
            if value is not None:
                believed.append(value)
        return believed


class ThrottledWarnings:
    """Warns of what is refused on one line, of each kind now and then: no flood hides another."""

    def __init__(self, logger):
        self._logger = logger
        self._last: dict[tuple[str, RejectionReason], float] = {}

    def warn(self, whose: str, reason: RejectionReason, entity='somebody', detail='') -> None:
        """Say why what was said in the name of `entity` is refused, `whose` topic it came on."""
        now = time.monotonic()
        if now - self._last.get((whose, reason), -math.inf) >= WARN_PERIOD_S:
            self._last[whose, reason] = now
            self._logger.warning(f'refused an LCT of {whose}: {explain(reason, entity, detail)}')
