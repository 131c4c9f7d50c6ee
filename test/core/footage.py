# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Footage whose frames are numbered, and a fake clock, for the tests of sources."""

import cv2
import numpy as np
import pytest

from sage_perception.vision.sources import EndOfStream, SourceError, open_source

NS = 1_000_000_000
LENGTH = 40  # frames of the video
VIDEO_FPS = 20


class FakeClock:
    """A clock that advances only by waiting; the wall clock is `ahead_ns` ahead."""

    def __init__(self, ahead_ns=1_700_000_000 * NS):
        self.now_ns = 5_000 * NS
        self.ahead_ns = ahead_ns

    def monotonic_ns(self):
        return self.now_ns

    def time_ns(self):
        return self.now_ns + self.ahead_ns

    def wait(self, event, seconds):
        self.advance(seconds)
        return event.is_set()

    def advance(self, seconds):
        self.now_ns += round(seconds * NS)


def numbered(number):
    """Return an image of 64x48 pixels that encodes `number` in 12 black or white squares."""
    bits = np.array([number >> place & 1 for place in range(12)], np.uint8).reshape(3, 4)
    return cv2.cvtColor(np.kron(bits * 255, np.ones((16, 16), np.uint8)), cv2.COLOR_GRAY2BGR)


def number_in(image):
    """Return the number that an image of any size encodes."""
    squares = cv2.resize(image, (4, 3), interpolation=cv2.INTER_AREA)[..., 1].ravel() > 127
    return sum(1 << place for place, bit in enumerate(squares) if bit)


def write_video(path, length, fourcc='MJPG'):
    code = cv2.VideoWriter_fourcc(*fourcc)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, VIDEO_FPS, (64, 48))
    assert writer.isOpened()
    for number in range(length):
        writer.write(numbered(number))
    writer.release()
    return path


def frames_until(source, ending, message=None):
    """Return the frames of a source until it raises `ending`."""
    frames = []

    def read_on():
        while True:
            frames.append(source.read(5.0))

    with pytest.raises(ending, match=message):
        read_on()
    return frames


def read_all(source):
    """Return the index and the encoded number of all frames of a source."""
    with source:
        frames = frames_until(source, EndOfStream, 'has ended')
    return [(frame.index, number_in(frame.image)) for frame in frames]


def message_of(uri):
    """Return the message of the error that opening `uri` raises."""
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    return str(caught.value)
