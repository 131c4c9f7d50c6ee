# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The video of the demo, and the two cameras that play it."""

from __future__ import annotations

from pathlib import Path

import cv2

from sage_perception.bringup.graph import Camera

VIDEO_SUFFIXES = ('.avi', '.mp4', '.mkv')
FPS = 30
SIZE = '640x480'
WINDOW = (0.08, 0.08, 0.86, 0.86)
"""The part of the image that cam1 shows: x, y, width and height as shares of the image."""
GAIN = 1.15
"""The gain of cam1."""


class DemoError(Exception):
    """The demo failed; the message contains the reason and the log file."""


def find_video(footage: Path) -> Path:
    """Return the video to play: `footage`, or a video in that folder."""
    if footage.is_file():
        return footage.resolve()
    videos = sorted(path for path in footage.rglob('*') if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise DemoError(
            f'--footage: {footage} contains no video ({", ".join(VIDEO_SUFFIXES)}); give a video'
        )
    preferred = [path for path in videos if path.name.endswith('vtest.avi')]
    return (preferred or videos)[0].resolve()


def cameras_of(video: Path) -> list[Camera]:
    """Return two cameras that play the same video synchronously."""
    capture = cv2.VideoCapture(str(video))
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    if not width or not height:
        raise DemoError(f'--footage: {video} is not a readable video')
    x, y, w, h = (
        round(part * side)
        for part, side in zip(WINDOW, (width, height, width, height), strict=True)
    )
    whole = f'file://{video}?fps={FPS}&lock=wall&size={SIZE}'
    part = f'{whole}&roi={x},{y},{w},{h}&gain={GAIN}'
    return [Camera('cam0', source=whole), Camera('cam1', source=part)]
