# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The input of a measurement: cameras that play the same video in step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from sage_perception.bringup.graph import Camera
from sage_perception.core.reading import require_regular, sha256_of
from sage_perception.vision.synthetic import SyntheticWorld

FPS = 30
"""Frame rate of the rendered video, Hz; the cameras may play it at another rate."""
SECONDS = 10
SIZE = '640x480'


def render_video(path: Path) -> Path:
    """Write the synthetic world as a video to `path`, unless the file exists; return `path`."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    world = SyntheticWorld(seed=1)
    part = path.with_suffix('.part.avi')
    fourcc = cv2.VideoWriter.fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(part), fourcc, FPS, (world.width, world.height))
    if not writer.isOpened():
        raise OSError(f'{part} cannot be written')
    for number in range(FPS * SECONDS):
        writer.write(world.render(number / FPS, number))
    writer.release()
    return part.rename(path)


def check_video(path: Path) -> None:
    """Raise `ValueError` for a file that is not a video, which a camera node would wait for.

    Raises `OSError` if the file cannot be read.
    """
    require_regular(path)
    capture = cv2.VideoCapture(str(path))
    readable, _ = capture.read()
    capture.release()
    if not readable:
        raise ValueError(f'{path} is not a readable video')


def cameras_of(video: Path, count: int, rate_hz: float) -> list[Camera]:
    """Return `count` cameras that play `video` in step at `rate_hz`; every second one is brighter.

    A pair of cameras thus sees the same objects, as the cameras of a robot do.
    """
    uri = f'file://{video.resolve()}?fps={rate_hz:g}&lock=wall&size={SIZE}'
    return [Camera(f'cam{n}', source=uri + ('&gain=1.15' if n % 2 else '')) for n in range(count)]


def describe(video: Path) -> dict[str, Any]:
    """Return name, hash and image size of the input, for a report."""
    return {'video': video.name, 'sha256': sha256_of(video), 'size': SIZE}
