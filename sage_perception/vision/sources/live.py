# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A camera that delivers at its own rate: the newest image is kept, older ones are dropped."""

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

STALL_S = 5.0  # without an image for so long, the camera counts as lost
CLOSE_S = 0.2  # that `close` waits for the driver to return from its current call

Stamp = Callable[[cv2.VideoCapture], int]


def stamp_now(_: cv2.VideoCapture) -> int:
    """Return the monotonic time, ns: the best there is where a backend tells no capture time."""
    return time.monotonic_ns()


class LiveSource(FrameSource):
    """Reads an open `capture` in a thread of its own, so that a late reader gets the newest frame.

    `stamp` is called after each successful grab and returns when it was captured. The capture is
    released by that thread, which a driver may hold up. Raises SourceUnavailable with `silent`
    when no first image comes.
    """

    def __init__(
        self,
        uri: SourceUri,
        capture: cv2.VideoCapture,
        identity: str,
        silent: str,
        reopen: str | None = None,
        stamp: Stamp = stamp_now,
    ):
        self.identity = identity
        self.uri = uri.text if reopen is None else reopen
        self._capture = capture
        self._stamp = stamp
        self._changed = threading.Condition()
        self._newest: tuple[np.ndarray, int, int] | None = None
        self._arrived_s = time.monotonic()
        self._ended = False  # no further image will come
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
        """Return the newest image not yet returned; skipped ones leave a gap in the index."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended or self._closed, timeout_s)
            if self._closed:
                raise EndOfStream(f'{self.identity} is closed')
            newest, self._newest = self._newest, None
            silent_s = time.monotonic() - self._arrived_s
        if newest is None:
            if self._ended:
                raise SourceLost(f'{self.identity} stopped delivering images')
            if silent_s > STALL_S:
                raise SourceLost(f'{self.identity} delivered no image for {silent_s:.0f} s')
            return None
        image, captured_ns, index = newest
        return Frame(self._view.apply(image), captured_ns, index)

    def close(self) -> None:
        """Ask the thread to release the camera, and wait a little for it."""
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
                continue  # a damaged image on the wire; the next one comes
            with self._changed:
                self._newest = (image, captured_ns, index)
                self._arrived_s = time.monotonic()
                self._changed.notify_all()
            index += 1
