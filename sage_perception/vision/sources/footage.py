# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Footage: video files, folders of images, the synthetic world."""

from __future__ import annotations

import logging
import os
import re

import cv2
import numpy as np

from sage_perception.vision.sources.base import SourceLost
from sage_perception.vision.sources.decoder import open_decoder
from sage_perception.vision.sources.pacing import EndOfFootage, PacedSource, SystemClock
from sage_perception.vision.sources.uri import SourceUri
from sage_perception.vision.synthetic import SyntheticWorld

LOG = logging.getLogger(__name__)
SEEK_DISTANCE = 300
"""Distance above which a video is seeked, images; below it, decoding is as fast, and exact."""
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
    fps = uri.options.get('fps', video.fps)
    return PacedSource(uri, video, fps, f'file://{path}', clock)


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


class VideoFile:
    """Decodes a video file in ascending order; an earlier position restarts at the beginning.

    Raises `SourceLost`, on opening and later, if the file is missing or cannot be decoded.
    """

    _image: np.ndarray | None

    def __init__(self, path: str) -> None:
        self._path = path
        self._rewind()
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0.01 <= self.fps <= 1000:
            self.fps = 30.0
        self.length: int | None = None
        self.height, self.width = self.image(0).shape[:2]

    def image(self, position: int) -> np.ndarray:
        """Return the image at `position`, uint8 `[H, W, 3]` BGR."""
        if not os.path.exists(self._path):
            raise SourceLost(f'{self._path} no longer exists')
        if position < self._position:
            self._rewind()
        if position - self._position > SEEK_DISTANCE:
            self._seek(position)
        while self._position < position:
            skip = self._position + 1 < position
            ok, image = (self._capture.grab(), None) if skip else self._capture.read()
            if not ok and self._position < 0:
                raise SourceLost(f'{self._path} contains no image')
            if not ok:
                self.length = self._position + 1
                raise EndOfFootage
            self._position += 1
            self._image = image
        if self._image is None:  # the image was skipped
            self._rewind()
            return self.image(position)
        return self._image

    def use_announced_length(self) -> None:
        """Set `length` to the frame count of the header if that is correct.

        The header may hold an estimate; then the first playback to the end determines the length.
        """
        announced = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if announced > 0 and self._seek(announced - 1) and not self._capture.grab():
            self.length = announced
        self._rewind()

    def _rewind(self) -> None:
        self._capture = open_decoder(self._path)
        if not self._capture.isOpened():
            raise SourceLost(f'{self._path} cannot be decoded')
        self._position = -1
        self._image = None

    def _seek(self, position: int) -> bool:
        """Seek to `position` and return whether that succeeded; otherwise rewind."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, position)
        arrived = round(self._capture.get(cv2.CAP_PROP_POS_FRAMES)) == position
        ok, image = self._capture.read()
        if arrived and ok:
            self._position, self._image = position, image
        else:
            self._rewind()
        return arrived and ok


class ImageFolder:
    """The images of a folder in natural order (img2 before img10); the first one sets the size.

    A file that cannot be decoded is replaced by the next one. Raises `OSError` if the folder is
    not readable, `SourceLost` if a file is not readable or no file is an image.
    """

    def __init__(self, folder: str) -> None:
        names = (name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES))
        self._paths = [os.path.join(folder, name) for name in sorted(names, key=_natural)]
        if not self._paths:
            raise SourceLost(f'{folder} contains no images ({" ".join(IMAGE_SUFFIXES)})')
        self.length = len(self._paths)
        self._broken: set[str] = set()
        self.height, self.width = self.image(0).shape[:2]

    def image(self, position: int) -> np.ndarray:
        """Return the image at `position`, uint8 `[H, W, 3]` BGR."""
        if position >= self.length:
            raise EndOfFootage
        for path in self._paths[position:] + self._paths[:position]:
            try:
                data = np.fromfile(path, np.uint8)
            except OSError as error:
                raise SourceLost(f'{path} is not readable: {error.strerror}') from None
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if image is not None:
                return image
            if path not in self._broken:
                self._broken.add(path)
                LOG.warning('%s cannot be decoded as an image; using the next one instead', path)
        raise SourceLost(f'{path} cannot be decoded as an image, nor can any other file there')


def _natural(name: str) -> list[int | str]:
    """Return a sort key that orders numbers by value."""
    parts = re.split('([0-9]+)', name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


class SyntheticFootage:
    """A synthetic world sampled at `fps` Hz, endless."""

    length = None

    def __init__(self, world: SyntheticWorld, fps: float) -> None:
        self._world, self._fps = world, fps
        self.width, self.height = world.width, world.height

    def image(self, position: int) -> np.ndarray:
        """Return the image at `position` / fps seconds, uint8 `[H, W, 3]` BGR."""
        return self._world.render(position / self._fps, position)
