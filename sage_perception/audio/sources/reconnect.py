# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A source of sound that reconnects to its device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from sage_perception.audio.sources.base import SoundBlock, SoundSource
from sage_perception.audio.sources.opening import open_sound
from sage_perception.vision.sources.base import (
    EndOfStream,
    SourceLost,
    SourceUnavailable,
)
from sage_perception.vision.sources.reconnect import Connection

BACKOFF_S = 0.5, 8.0
"""First and longest delay between two attempts, seconds; the delays double."""


class ReconnectingSound(SoundSource):
    """Opens a source and reopens it after each loss, inside `read`.

    Args:
        uri: the URI of the source.
        on_state: called with each change of the connection.
        opener: opens a URI.
        backoff_s: first and longest delay between two attempts, seconds.

    Raises:
        SourceError: the URI is not valid.
    """

    def __init__(
        self,
        uri: str,
        on_state: Callable[[Connection], None] = lambda state: None,
        opener: Callable[[str], SoundSource] = open_sound,
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        self.identity, self.uri, self.channels = '', uri, 0
        self.state = Connection(False)
        self._on_state, self._opener, self._backoff_s = on_state, opener, backoff_s
        self._delay_s = backoff_s[0]
        self._retry_s = 0.0
        self._next = 0
        self._offset = 0
        self._closed = threading.Event()
        self._source: SoundSource | None = None
        try:
            self._connect()
        except SourceUnavailable as error:
            self._lose(str(error))

    def read(self, timeout_s: float) -> SoundBlock | None:
        """Return the next block; None after `timeout_s` or while the device is lost."""
        if self._closed.is_set():
            raise EndOfStream(f'{self.identity or "the source"} is closed')
        if self._source is None:
            wait_s = self._retry_s - time.monotonic()
            if wait_s > timeout_s:
                self._closed.wait(timeout_s)
                return None
            self._closed.wait(max(wait_s, 0))
            try:
                self._connect()
            except SourceUnavailable as error:
                self._lose(str(error))
            return None
        try:
            block = self._source.read(timeout_s)
        except SourceLost as lost:
            self._lose(str(lost))
            return None
        if block is None:
            return None
        self._delay_s = self._backoff_s[0]
        block = replace(block, index=block.index + self._offset)
        self._next = block.index + 1
        return block

    def close(self) -> None:
        """Close the device and end the attempts to reconnect."""
        self._closed.set()
        if self._source is not None:
            self._source.close()

    def _connect(self) -> None:
        source = self._opener(self.uri)
        self._source, self._offset = source, self._next
        self.identity, self.channels = source.identity, source.channels
        self._report(Connection(True))

    def _lose(self, reason: str) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
        attempts = 0 if self.state.connected else self.state.attempts + 1
        self._retry_s = time.monotonic() + self._delay_s
        self._delay_s = min(2 * self._delay_s, self._backoff_s[1])
        self._report(Connection(False, reason, attempts))

    def _report(self, state: Connection) -> None:
        self.state = state
        self._on_state(state)
