# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What every frame source offers, and how it fails."""

from __future__ import annotations

import abc

from sage_perception.core.frame import Frame


class SourceError(ValueError):
    """A source cannot be opened as asked; the message is one line that names the fix."""


class SourceUnavailable(SourceError):
    """The address is right, but what it names is not there or not free now; it may come back."""


class SourceLost(Exception):
    """An open source stopped delivering: unplugged, deleted, disconnected or stalled."""


class EndOfStream(Exception):
    """There is no next frame: the footage is over and does not loop, or the source is closed."""


class FrameSource(abc.ABC):
    """Images of one camera, or of something that stands in for one.

    `identity` names the device the same way after it was unplugged and came back. `uri` opens the
    very same device again; it may hold a password, so it is not for logs. `width` and `height` are
    those of the delivered images, pixels; `fps` is the nominal rate, NaN where it is unknown.

    One thread reads; `close` may be called from any thread and ends a `read` that waits.
    """

    identity: str
    uri: str
    width: int
    height: int
    fps: float

    @abc.abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame once it is captured or due, None if there is none in time.

        Nobody may write into the image: a still source can return the same one twice. Raises
        EndOfStream and SourceLost.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the device; closing twice is harmless."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
