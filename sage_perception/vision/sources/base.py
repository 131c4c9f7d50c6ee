# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a frame source, and its errors."""

from __future__ import annotations

import abc
from typing import TypeVar

from sage_perception.core.frame import Frame


class SourceError(ValueError):
    """A URI is not valid; the message is one line that contains the fix."""


class SourceUnavailable(SourceError):
    """The URI is valid, but the device or file is missing or in use; a retry may succeed."""


class SourceLost(Exception):
    """An open source no longer delivers: unplugged, deleted, disconnected or stalled."""


class EndOfStream(Exception):
    """There are no more frames: the footage ended and does not loop, or the source is closed."""


Source = TypeVar('Source', bound='FrameSource')


class FrameSource(abc.ABC):
    """The images of one camera or of recorded or computed footage.

    `read` is called from one thread; `close` may be called from any thread and interrupts a
    waiting `read`.

    Attributes:
        identity: name of the device, stable across reconnection.
        uri: URI that opens the same device again. It may contain a password; do not log it.
        width: width of the delivered images, pixels.
        height: height of the delivered images, pixels.
        fps: nominal frame rate, Hz; NaN if unknown.
    """

    identity: str
    uri: str
    width: int
    height: int
    fps: float

    @abc.abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the next frame and return it, or None after `timeout_s` seconds.

        Do not modify the image; a source may return the same array twice.

        Raises:
            EndOfStream: there are no more frames.
            SourceLost: the device no longer delivers.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the device; further calls have no effect."""

    def __enter__(self: Source) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
