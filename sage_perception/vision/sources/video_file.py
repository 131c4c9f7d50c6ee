# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a video file, with the times that the file gives them."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.reading import require_regular
from sage_perception.vision.sources.base import SourceLost
from sage_perception.vision.sources.decoder import open_decoder
from sage_perception.vision.sources.pacing import EndOfFootage

StampedImages = Iterator[tuple[np.ndarray, float]]
"""Images, uint8 BGR `[H, W, 3]`, with stamps in seconds."""

LOG = logging.getLogger(__name__)
SEEK_DISTANCE = 300
"""Distance above which a video is seeked, images; below it, decoding is as fast, and exact."""
MAX_UNDECODABLE = 30
"""Consecutive frames that cannot be decoded, after which a video is considered to end."""
MAX_FPS, DEFAULT_FPS = 240.0, 30.0
"""Highest plausible frame rate of a header (WebM claims 1000), and that of a video without one."""
MEASURED_FRAMES = 10
"""Number of frames from which an implausible frame rate is measured."""
MAX_INTERVAL_S = 60.0
"""Time between frames above which the times of a file are considered to be damaged."""


class VideoFile:
    """Decodes a video file in ascending order; an earlier position restarts at the beginning.

    Frames that cannot be decoded are passed over and do not count as positions. Raises
    `SourceLost`, on opening and later, if the file is missing or cannot be decoded.

    Attributes:
        width, height: size of the images, pixels.
        fps: nominal frame rate, Hz.
        length: number of images; None until it is known.
        duration_s: time from the first image to the end of the last one; valid with `length`.
        undecodable: number of frames that were passed over, in the longest playback.
    """

    _image: np.ndarray | None

    def __init__(self, path: str) -> None:
        """Open the file at `path`."""
        self._path = path
        self.length: int | None = None
        self.duration_s = 0.0
        self.undecodable = 0
        self.fps = DEFAULT_FPS
        self._rewind()
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        if 0.01 <= fps <= MAX_FPS:
            self.fps = fps
        else:
            self.fps = self._measured_fps()
        self.height, self.width = self.image(0).shape[:2]

    def image(self, position: int) -> np.ndarray:
        """Return the image at `position`, uint8 `[H, W, 3]` BGR; raises `EndOfFootage`."""
        self._go_to(position)
        if self._image is None:
            ok, image = self._capture.retrieve()
            if not ok:
                raise SourceLost(f'{self._path} cannot be decoded at {self._time_s:.2f} s')
            self._image = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return self._image

    def time_s(self, position: int) -> float:
        """Return the time of an image after the first one, seconds; raises `EndOfFootage`."""
        self._go_to(position)
        return self._time_s

    def use_announced_length(self) -> None:
        """Set `length` to the frame count of the header if that is correct.

        The header may hold an estimate; then the first playback to the end determines the length.
        """
        announced = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if announced > 0 and self._seek(announced - 1) and not self._capture.grab():
            self.length = announced
            self.duration_s = announced / self.fps
        self._rewind()

    def _go_to(self, position: int) -> None:
        """Grab the frame at `position`."""
        if not os.path.exists(self._path):
            raise SourceLost(f'{self._path} no longer exists')
        if position < self._position:
            self._rewind()
        if position - self._position > SEEK_DISTANCE:
            self._seek(position)
        while self._position < position:
            if not self._grab():
                if self._position < 0:
                    raise SourceLost(f'{self._path} contains no image')
                self.length = self._position + 1
                self.duration_s = self._time_s + self._interval_s
                raise EndOfFootage

    def _grab(self) -> bool:
        """Grab the next frame that can be decoded; return False at the end."""
        for failures in range(MAX_UNDECODABLE):
            if not self._capture.grab():
                continue
            if failures:
                self._passed_over += failures
                self._count_undecodable()
            self._position += 1
            self._image = None
            self._set_time()
            return True
        return False

    def _set_time(self) -> None:
        """Set the time of the current frame; without a plausible one it follows the rate."""
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._position == 0:
            self._first_s, self._time_s = stamp_s, 0.0
            return
        time_s = stamp_s - self._first_s
        if 0 < time_s - self._time_s < MAX_INTERVAL_S:
            self._interval_s = time_s - self._time_s
        else:
            self._interval_s = 1 / self.fps
            self._first_s = stamp_s - self._time_s - self._interval_s
        self._time_s += self._interval_s

    def _count_undecodable(self) -> None:
        if self._passed_over <= self.undecodable:
            return
        if not self.undecodable:
            LOG.warning('%s has frames that cannot be decoded; they are passed over', self._path)
        self.undecodable = self._passed_over

    def _measured_fps(self) -> float:
        """Return the frame rate of the first frames; rewinds."""
        count = 0
        while count < MEASURED_FRAMES and self._grab():
            count += 1
        fps = (count - 1) / self._time_s if count > 1 else DEFAULT_FPS
        self._rewind()
        return fps

    def _rewind(self) -> None:
        try:
            require_regular(self._path)
        except OSError as error:
            raise SourceLost(f'{self._path} cannot be read: {error.strerror}') from None
        self._capture = open_decoder(self._path)
        if not self._capture.isOpened():
            raise SourceLost(f'{self._path} cannot be decoded')
        self._position = -1
        self._image = None
        self._time_s = self._first_s = 0.0
        self._interval_s = 1 / self.fps
        self._passed_over = 0

    def _seek(self, position: int) -> bool:
        """Seek to `position` and return whether that succeeded; otherwise rewind."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, position)
        arrived = round(self._capture.get(cv2.CAP_PROP_POS_FRAMES)) == position
        if arrived and self._capture.grab():
            stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            self._position, self._image = position, None
            self._time_s = max(stamp_s - self._first_s, 0.0)
            return True
        self._rewind()
        return False


def clip_frames(path: Path) -> StampedImages:
    """Yield the frames of a clip, uint8 BGR `[H, W, 3]`, with the stamps of the file in seconds.

    Raises `ValueError` if OpenCV reads no frame.
    """
    try:
        video = VideoFile(str(path))
        for index in itertools.count():
            yield video.image(index), video.time_s(index)
    except SourceLost as error:
        raise ValueError(f'{error}: it is not a video that OpenCV can read') from None
    except EndOfFootage:
        return
