# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds since the start of a recording, from header stamps that may jump back."""

from __future__ import annotations

MAX_REORDER_S = 0.5
"""A stamp that is older than its predecessor by more than this is a jump of the clock."""


class Timebase:
    """Converts the stamps of several streams to seconds since the first stamp of any of them.

    After a clock jumped back, the time of a stream continues where it was, so that each second of
    a recording has one number; the other streams follow the first one.
    """

    def __init__(self) -> None:
        self._origin_ns: int | None = None
        self._offsets_ns: dict[str, int] = {}
        self._newest_ns: dict[str, int] = {}

    def elapsed_s(self, stream: str, stamp_ns: int) -> float:
        """Return the time of a stamp of `stream`, seconds."""
        if self._origin_ns is None:
            self._origin_ns = stamp_ns
        offset = self._offsets_ns.get(stream, 0)
        time_ns = stamp_ns - self._origin_ns + offset
        newest = self._newest_ns.get(stream, time_ns)
        if (newest - time_ns) * 1e-9 > MAX_REORDER_S:
            time_ns = self._rebase(stream, time_ns - offset, newest)
        self._newest_ns[stream] = max(newest, time_ns)
        return time_ns * 1e-9

    def _rebase(self, stream: str, time_ns: int, newest_ns: int) -> int:
        """Return the time after a jump: as of a stream that jumped before, else `newest_ns`."""
        offsets = {offset for offset in self._offsets_ns.values() if time_ns + offset > newest_ns}
        offset = min(offsets, default=newest_ns - time_ns)
        self._offsets_ns[stream] = offset
        return time_ns + offset
