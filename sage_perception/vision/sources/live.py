# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A source for live cameras, which keeps only the newest image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from sage_perception.core.frame import Frame
from sage_perception.vision.sources.base import EndOfStream, FrameSource, SourceLost
from sage_perception.vision.sources.uri import SourceUri
from sage_perception.vision.sources.view import View

STALL_S = 5.0
"""Time without an image after which the camera counts as lost, seconds."""
CLOSE_S = 0.2
"""Maximum time `close` waits for the driver to return from its current call, seconds."""

Stamp = Callable[[cv2.VideoCapture], int]


def stamp_now(_: cv2.VideoCapture) -> int:
    """Return the monotonic time, ns, for backends that report no capture time."""
    return time.monotonic_ns()


class LiveSource(FrameSource):
    """Reads an open capture in a background thread, so that a reader gets the newest frame.

    The background thread also releases the capture, because the driver may block.

    Args:
        uri: the parsed URI of the source.
        capture: the open capture.
        identity: name of the device.
        silent: error message if no first image arrives.
        reopen: URI that opens the same device again; None: the text of `uri`.
        stamp: returns the time of capture, monotonic ns, after each successful grab.

    Raises:
        SourceUnavailable: no image arrives within `STALL_S`.
    """

    _view: View

    def __init__(
        self,
        uri: SourceUri,
        capture: cv2.VideoCapture,
        identity: str,
        silent: str,
        reopen: str | None = None,
        stamp: Stamp = stamp_now,
    ) -> None:
        self.identity = identity
        self.uri = uri.text if reopen is None else reopen
        self._capture = capture
        self._stamp = stamp
        self._changed = threading.Condition()
        self._newest: tuple[np.ndarray, int, int] | None = None
        self._arrived_s = time.monotonic()
        self._ended = False  # the capture delivers no more images
        self._closed = False
        self.fps = capture.get(cv2.CAP_PROP_FPS) or float('nan')
        self._thread = threading.Thread(target=self._grab, name=f'grab {identity}', daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended, STALL_S)
            first = self._newest
        if first is None:
            self.close()
            raise uri.unavailable(silent)
        try:
            self._view = View(uri, first[0].shape[1], first[0].shape[0])
        except ValueError:
            self.close()
            raise
        self.width, self.height = self._view.width, self._view.height

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest image; skipped images leave a gap in the index."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended or self._closed, timeout_s)
            if self._closed:
                raise EndOfStream(f'{self.identity} is closed')
            newest, self._newest = self._newest, None
            silent_s = time.monotonic() - self._arrived_s
        if newest is None:
            if self._ended:
                raise SourceLost(f'{self.identity} no longer delivers images')
            if silent_s > STALL_S:
                raise SourceLost(f'{self.identity} has delivered no image for {silent_s:.0f} s')
            return None
        image, captured_ns, index = newest
        return Frame(self._view.apply(image), captured_ns, index)

    def close(self) -> None:
        """Make the background thread release the camera, and wait for it at most `CLOSE_S`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_S)

    def _grab(self) -> None:
        try:
            self._grab_until_closed()
        finally:
            self._capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _grab_until_closed(self) -> None:
        index = 0
        while not self._closed and self._capture.grab():
            captured_ns = self._stamp(self._capture)
            ok, image = self._capture.retrieve()
            if not ok:
                continue  # a damaged image; the next one follows
            with self._changed:
                self._newest = (image, captured_ns, index)
                self._arrived_s = time.monotonic()
                self._changed.notify_all()
            index += 1
