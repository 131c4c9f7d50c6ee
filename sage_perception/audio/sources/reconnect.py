# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A source of sound that reconnects to its device."""

from __future__ import annotations

from collections.abc import Callable

from sage_perception.audio.sources.base import SoundBlock, SoundSource
from sage_perception.audio.sources.opening import open_sound
from sage_perception.vision.sources.pacing import SystemClock
from sage_perception.vision.sources.reconnect import BACKOFF_S, Connection, Reconnecting


class ReconnectingSound(Reconnecting[SoundSource, SoundBlock], SoundSource):
    """A source of sound that reconnects; `channels` is 0 until it is connected."""

    def __init__(
        self,
        uri: str,
        on_state: Callable[[Connection], None] = lambda state: None,
        backoff_s: tuple[float, float] = BACKOFF_S,
        opener: Callable[[str], SoundSource] = open_sound,
        clock: SystemClock | None = None,
    ) -> None:
        self.channels = 0
        super().__init__(uri, on_state, backoff_s, opener, clock)

    def _adopt(self, source: SoundSource) -> None:
        self.channels = source.channels
