# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sources that reconnect to their device."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from sage_perception.core.frame import Frame
from sage_perception.vision.sources.base import (
    EndOfStream,
    FrameSource,
    SourceError,
    SourceLost,
    SourceUnavailable,
)
from sage_perception.vision.sources.opening import open_source
from sage_perception.vision.sources.pacing import NS, SystemClock

BACKOFF_S = 0.5, 8.0
"""First and longest delay between two attempts, seconds."""


@dataclass(frozen=True)
class Connection:
    """The connection to a device; if lost, the reason and the number of attempts since."""

    connected: bool
    reason: str = ''
    attempts: int = 0


class Source(Protocol):
    """A source of images or of sound; see `FrameSource`."""

    identity: str
    uri: str

    def read(self, timeout_s: float) -> Any:
        """Wait for the next item and return it, or None after `timeout_s` seconds."""

    def close(self) -> None:
        """Release the device."""


SourceT = TypeVar('SourceT', bound=Source)
ItemT = TypeVar('ItemT')


class Reconnecting(Generic[SourceT, ItemT]):
    """Opens a source and reopens it after each loss, until the same device is back.

    Attempts happen inside `read`; one can take the few seconds that a driver or a network needs to
    respond. A device that is missing at the start counts as lost. The indices of the items
    continue across reconnections.

    Args:
        uri: the URI of the source.
        on_state: called from the reading thread with each change of `state`.
        backoff_s: delay of the first attempt, and upper limit of the delays, which double with
            each attempt, seconds.
        opener: opens a URI.
        clock: the clock of the delays.

    Raises:
        SourceError: the URI is not valid.
    """

    def __init__(
        self,
        uri: str,
        on_state: Callable[[Connection], None],
        backoff_s: tuple[float, float],
        opener: Callable[[str], SourceT],
        clock: SystemClock | None,
    ) -> None:
        self.identity, self.uri = '', uri
        self._opener = opener
        self._on_state = on_state
        self._first_s, self._max_s = backoff_s
        self._clock = clock or SystemClock()
        self._closed = threading.Event()
        self._swap = threading.Lock()  # guards _source against `close`
        self._source: SourceT | None = None
        self._index_offset = 0
        self._next_index = 0
        self._delay_s = self._first_s
        self._retry_ns = 0
        try:
            self._connect()
        except SourceUnavailable as error:
            self._lose(str(error))

    @abstractmethod
    def _adopt(self, source: SourceT) -> None:
        """Take over the properties of a source that has been opened."""

    def read(self, timeout_s: float) -> ItemT | None:
        """Return the next item, or None after `timeout_s` seconds or while the device is lost."""
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS)
        while True:
            source = self._source
            if source is None:
                if not self._retry_is_due(deadline_ns):
                    return None
                self._retry()
                continue
            try:
                item = source.read(max(deadline_ns - self._clock.monotonic_ns(), 0) / NS)
            except SourceLost as lost:
                self._lose(str(lost))
                continue
            if item is None:
                return None
            self._delay_s = self._first_s  # the connection works
            moved: ItemT = replace(item, index=item.index + self._index_offset)
            self._next_index = item.index + self._index_offset + 1
            return moved

    def close(self) -> None:
        """Close the device and end the attempts to reconnect."""
        self._closed.set()
        with self._swap:
            if self._source is not None:
                self._source.close()

    def _retry_is_due(self, deadline_ns: int) -> bool:
        """Wait for the next attempt until the deadline; return whether it is due."""
        pause_ns = min(self._retry_ns, deadline_ns) - self._clock.monotonic_ns()
        if self._clock.wait(self._closed, max(pause_ns, 0) / NS):
            raise EndOfStream(f'{self.identity or "the source"} is closed')
        return self._clock.monotonic_ns() >= self._retry_ns

    def _retry(self) -> None:
        try:
            self._connect()
        except SourceError as error:
            self._back_off(Connection(False, str(error), self.state.attempts + 1))

    def _connect(self) -> None:
        source = self._opener(self.uri)
        if self.identity and source.identity != self.identity:
            source.close()
            raise SourceUnavailable(f'found {source.identity} instead of {self.identity}')
        with self._swap:
            self._source = source
            if self._closed.is_set():
                source.close()
        # From now on reopen the device that was found first.
        self.identity, self.uri = source.identity, source.uri
        self._adopt(source)
        self._index_offset = self._next_index
        self._report(Connection(True))

    def _lose(self, reason: str) -> None:
        with self._swap:
            source, self._source = self._source, None
        if source is not None:
            source.close()
        self._back_off(Connection(False, reason))

    def _back_off(self, state: Connection) -> None:
        self._retry_ns = self._clock.monotonic_ns() + round(self._delay_s * NS)
        self._delay_s = min(2 * self._delay_s, self._max_s)
        self._report(state)

    def _report(self, state: Connection) -> None:
        self.state = state
        self._on_state(state)


class ReconnectingSource(Reconnecting[FrameSource, Frame], FrameSource):
    """A source of images that reconnects; `width` and `height` are 0 until it is connected."""

    def __init__(
        self,
        uri: str,
        on_state: Callable[[Connection], None] = lambda state: None,
        backoff_s: tuple[float, float] = BACKOFF_S,
        opener: Callable[[str], FrameSource] = open_source,
        clock: SystemClock | None = None,
    ) -> None:
        self.width, self.height, self.fps = 0, 0, float('nan')
        super().__init__(uri, on_state, backoff_s, opener, clock)

    def _adopt(self, source: FrameSource) -> None:
        self.width, self.height, self.fps = source.width, source.height, source.fps
