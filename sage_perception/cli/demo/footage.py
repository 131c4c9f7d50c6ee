# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The video of the demo, and the scenes: two cameras that play it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from sage_perception.bringup.graph import Camera
from sage_perception.core.latent import Roi
from sage_perception.vision.sources.moving_window import MovingWindow

VIDEO_SUFFIXES = ('.avi', '.mp4', '.mkv')
FPS = 30
WIDTH, HEIGHT = 640, 480
WINDOW = (0.08, 0.08, 0.86, 0.86)
"""The part of the image that cam1 shows: x, y, width and height as shares of the image."""
GAIN = 1.15
"""The gain of cam1."""
PAN, SHAKE = 0.15, 0.006
"""The motion of cam1 in the moving scene: widths of the image per second, and widths."""
MOVING_WINDOW = (0.05, 0.12, 0.7, 0.7)
"""The part of the image that cam1 shows at first in the moving scene."""


class DemoError(Exception):
    """The demo failed; the message contains the reason and the log file."""


@dataclass(frozen=True)
class Scene:
    """Two cameras that play the same video in step: cam0 all of it, cam1 the part in a window.

    Attributes:
        name: 'standing' or 'moving'.
        text: what cam1 shows, for the report.
        cameras: the cameras.
        window: the window of cam1, in pixels of the video.
    """

    name: str
    text: str
    cameras: tuple[Camera, Camera]
    window: MovingWindow

    def in_cam1(self, roi: Roi, stamp_ns: int) -> tuple[float, float, float, float]:
        """Return where cam1 shows a region of cam0: left, top, right and bottom, pixels.

        `stamp_ns` is the stamp of the frame: the cameras play the video by the wall clock.
        """
        window = self.window
        corner = window.corner(tick_of(stamp_ns) / FPS)
        edges = []
        for start, length, axis in ((roi.x, roi.width, 0), (roi.y, roi.height, 1)):
            whole = (window.width, window.height)[axis]
            shown = (window.roi.width, window.roi.height)[axis]
            side = (WIDTH, HEIGHT)[axis]
            for edge in (start, start + length):
                edges.append((edge / side * whole - corner[axis]) * side / shown)
        left, right, top, bottom = edges
        return left, top, right, bottom


def tick_of(stamp_ns: int) -> int:
    """Return the number of the frame that the cameras show at the time of a stamp."""
    return round(stamp_ns * FPS / 1e9)


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


def scenes_of(video: Path) -> tuple[Scene, Scene]:
    """Return the scenes: a second camera that stands, and one that pans and shakes."""
    capture = cv2.VideoCapture(str(video))
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    if not width or not height:
        raise DemoError(f'--footage: {video} is not a readable video')
    pan, shake = round(PAN * width), round(SHAKE * width, 1)
    text = f'a window of {MOVING_WINDOW[2]:.0%} of the width, which pans by {pan} pixels of the '
    text += f'video per second and shakes by up to {shake} pixels'
    return (
        _scene('standing', f'the part {WINDOW} (x, y, width, height as shares)', video,
               MovingWindow(_part(WINDOW, width, height), width, height)),
        _scene('moving', text, video,
               MovingWindow(_part(MOVING_WINDOW, width, height), width, height, pan, shake)),
    )  # fmt: skip


def _scene(name: str, text: str, video: Path, window: MovingWindow) -> Scene:
    whole = f'file://{video}?fps={FPS}&lock=wall&size={WIDTH}x{HEIGHT}'
    roi = window.roi
    part = f'{whole}&roi={roi.x},{roi.y},{roi.width},{roi.height}&gain={GAIN}'
    if window.pan or window.shake:
        part += f'&pan={window.pan}&shake={window.shake}'
    cameras = Camera('cam0', source=whole), Camera('cam1', source=part)
    return Scene(name, text, cameras, window)


def _part(shares: tuple[float, float, float, float], width: int, height: int) -> Roi:
    sides = (width, height, width, height)
    return Roi(*(round(share * side) for share, side in zip(shares, sides, strict=True)))
