# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a source of sound."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np

BLOCK = 800
"""Samples of a block, 50 ms at 16 kHz."""


@dataclass(frozen=True, eq=False)
class SoundBlock:
    """A piece of sound.

    `samples` are float32 `[BLOCK, C]` at 16 kHz, full scale 1. `captured_ns` is the capture time
    of the first sample on this host's monotonic clock. `index` counts the blocks of the source
    from 0; gaps are lost blocks.
    """

    samples: np.ndarray
    captured_ns: int
    index: int


class SoundSource(abc.ABC):
    """The sound of a microphone, or recorded or computed sound.

    `read` is called from one thread; `close` may be called from any thread.

    Attributes:
        identity: name of the device, stable across reconnection.
        uri: URI that opens the same device again.
        channels: number of channels.
    """

    identity: str
    uri: str
    channels: int

    @abc.abstractmethod
    def read(self, timeout_s: float) -> SoundBlock | None:
        """Wait for the next block and return it, or None after `timeout_s` seconds.

        Raises:
            EndOfStream: there are no more blocks.
            SourceLost: the device no longer delivers.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the device; further calls have no effect."""
