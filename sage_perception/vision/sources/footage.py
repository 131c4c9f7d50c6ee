# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Footage: video files, folders of images, the synthetic world."""

from __future__ import annotations

import logging
import os

import cv2
import numpy as np

from sage_perception.core.reading import read_bounded
from sage_perception.core.text import natural_key
from sage_perception.vision.image_file import MAX_FILE_BYTES, decode_pixels, to_bgr
from sage_perception.vision.intensity_range import IntensityRange
from sage_perception.vision.sources.base import SourceLost
from sage_perception.vision.sources.pacing import (
    EndOfFootage,
    FileTimeline,
    PacedSource,
    SystemClock,
)
from sage_perception.vision.sources.uri import SourceUri
from sage_perception.vision.sources.video_file import VideoFile
from sage_perception.vision.synthetic import SyntheticWorld

LOG = logging.getLogger(__name__)
IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')


def open_file(uri: SourceUri, clock: SystemClock) -> PacedSource:
    """Open a video file for playback."""
    path = os.path.abspath(uri.path)
    if os.path.isdir(path):
        raise uri.error(f'{path} is a folder; use images://{path} for its images')
    if not os.path.exists(path):
        raise uri.unavailable(f'{path} does not exist')
    if not os.access(path, os.R_OK):
        raise uri.unavailable(f'{path} is not readable; check its permissions')
    try:
        video = VideoFile(path)
    except SourceLost as lost:
        raise uri.unavailable(f'{lost}; check that this OpenCV supports its codec') from None
    if 'lock' in uri.options:
        # The wall clock is past any end: without a length the whole file would be decoded first.
        video.use_announced_length()
    identity = f'file://{path}'
    if 'fps' in uri.options:
        return PacedSource(uri, video, uri.options['fps'], identity, clock)
    return PacedSource(uri, video, video.fps, identity, clock, FileTimeline(video, clock))


def open_images(uri: SourceUri, clock: SystemClock) -> PacedSource:
    """Open a folder of images for playback, in the natural order of their names."""
    folder = os.path.abspath(uri.path)
    try:
        images = ImageFolder(folder)
    except OSError as error:
        raise uri.unavailable(f'{folder} is not readable: {error.strerror}') from None
    except SourceLost as lost:
        raise uri.unavailable(str(lost)) from None
    return PacedSource(uri, images, uri.options.get('fps', 10.0), f'images://{folder}', clock)


def open_synthetic(uri: SourceUri, clock: SystemClock) -> PacedSource:
    """Open a synthetic world for playback."""
    fps = uri.options.get('fps', 30.0)
    chosen = {
        name: uri.options[name]
        for name in ('seed', 'width', 'height', 'objects', 'flicker')
        if name in uri.options
    }
    try:
        world = SyntheticWorld(**chosen)
    except ValueError as error:
        raise uri.error(str(error)) from None
    identity = 'synthetic://' + ','.join(f'{name}={value}' for name, value in chosen.items())
    return PacedSource(uri, SyntheticFootage(world, fps), fps, identity, clock)


class ImageFolder:
    """The images of a folder in natural order (img2 before img10); the first one sets the size.

    Images of another size are scaled to fit, with black bars at two sides. Hidden files are left
    out: macOS stores attributes in files such as `._a.jpg`. A file that cannot be decoded is
    replaced by the next one. Pixels of more than 8 bits are scaled by the range of the folder.
    Raises `OSError` if the folder is not readable, `SourceLost` if a file is not readable or no
    file is an image.
    """

    def __init__(self, folder: str) -> None:
        names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
        hidden = [name for name in names if name.startswith('.')]
        if hidden:
            LOG.warning('%s: %d hidden files are left out', folder, len(hidden))
        self._paths = [
            os.path.join(folder, name) for name in sorted({*names} - {*hidden}, key=natural_key)
        ]
        if not self._paths:
            raise SourceLost(f'{folder} contains no images ({" ".join(IMAGE_SUFFIXES)})')
        self.length = len(self._paths)
        self.height = self.width = 0
        self._broken: set[str] = set()
        self._intensity = IntensityRange()
        self._other_sizes = 0
        self.height, self.width = self.image(0).shape[:2]

    def image(self, position: int) -> np.ndarray:
        """Return the image at `position`, uint8 `[H, W, 3]` BGR."""
        if position >= self.length:
            raise EndOfFootage
        for path in self._paths[position:] + self._paths[:position]:
            try:
                data = read_bounded(path, MAX_FILE_BYTES)
            except OSError as error:
                raise SourceLost(f'{path} is not readable: {error.strerror}') from None
            try:
                return self._fitted(to_bgr(decode_pixels(data), self._intensity), path)
            except ValueError as error:
                if path not in self._broken:
                    self._broken.add(path)
                    LOG.warning('%s %s; using the next one instead', path, error)
        raise SourceLost(f'{path} cannot be decoded as an image, nor can any other file there')

    def _fitted(self, image: np.ndarray, path: str) -> np.ndarray:
        """Return an image in the size of the first one."""
        height, width = image.shape[:2]
        if (height, width) == (self.height, self.width) or not self.height:
            return image
        if not self._other_sizes:
            LOG.warning(
                '%s has %d x %d pixels, the first image %d x %d: such images are scaled to fit',
                *(path, width, height, self.width, self.height),
            )
        self._other_sizes += 1
        return letterboxed(image, self.width, self.height)


def letterboxed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return an image scaled to fit into `width` x `height` pixels, centered on black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width = min(max(round(image.shape[1] * scale), 1), width)
    inner_height = min(max(round(image.shape[0] * scale), 1), height)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    inner = cv2.resize(image, (inner_width, inner_height), interpolation=interpolation)
    result = np.zeros((height, width, 3), np.uint8)
    x, y = (width - inner_width) // 2, (height - inner_height) // 2
    result[y : y + inner_height, x : x + inner_width] = inner
    return result


class SyntheticFootage:
    """A synthetic world sampled at `fps` Hz, endless."""

    length = None

    def __init__(self, world: SyntheticWorld, fps: float) -> None:
        self._world, self._fps = world, fps
        self.width, self.height = world.width, world.height

    def image(self, position: int) -> np.ndarray:
        """Return the image at `position` / fps seconds, uint8 `[H, W, 3]` BGR."""
        return self._world.render(position / self._fps, position)
