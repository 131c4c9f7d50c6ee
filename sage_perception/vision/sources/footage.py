# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded and computed images: video files, folders, the synthetic world."""

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
SEEK_DISTANCE = 300  # images; over less, decoding them is as quick and always exact
IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')


def open_file(uri: SourceUri, clock: SystemClock) -> PacedSource:
    """Open a video file for playing."""
    path = os.path.abspath(uri.path)
    if os.path.isdir(path):
        raise uri.error(f'{path} is a folder; for its images write images://{path}')
    if not os.path.exists(path):
        raise uri.unavailable(f'there is no file {path}')
    if not os.access(path, os.R_OK):
        raise uri.unavailable(f'{path} cannot be read; check its permissions')
    try:
        video = VideoFile(path)
    except SourceLost as lost:
        raise uri.unavailable(f'{lost}; is it a video this OpenCV can decode?') from None
    if 'lock' in uri.options:
        # Wall time is far behind any end: without a length, all would have to be decoded first.
        video.trust_announced_length()
    fps = uri.options.get('fps', video.fps)
    return PacedSource(uri, video, fps, f'file://{path}', clock)


def open_images(uri: SourceUri, clock: SystemClock) -> PacedSource:
    """Open a folder of images for playing, in the natural order of their names."""
    folder = os.path.abspath(uri.path)
    try:
        images = ImageFolder(folder)
    except OSError as error:
        raise uri.unavailable(f'{folder} cannot be read: {error.strerror}') from None
    except SourceLost as lost:
        raise uri.unavailable(str(lost)) from None
    return PacedSource(uri, images, uri.options.get('fps', 10.0), f'images://{folder}', clock)


def open_synthetic(uri: SourceUri, clock: SystemClock) -> PacedSource:
    """Open a synthetic world for playing."""
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
    """Decodes a file front to back; positions that were passed are reached from its beginning.

    Raises SourceLost when there is nothing that can be decoded, then and later.
    """

    def __init__(self, path: str):
        self._path = path
        self._rewind()
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0.01 <= self.fps <= 1000:
            self.fps = 30.0
        self.length: int | None = None
        self.height, self.width = self.picture(0).shape[:2]

    def picture(self, position: int) -> np.ndarray:
        """Return the image at `position`, decoding those between."""
        if not os.path.exists(self._path):
            raise SourceLost(f'{self._path} is gone')
        if position < self._position:
            self._rewind()
        if position - self._position > SEEK_DISTANCE:
            self._seek(position)
        while self._position < position:
            skip = self._position + 1 < position
            ok, picture = (self._capture.grab(), None) if skip else self._capture.read()
            if not ok and self._position < 0:
                raise SourceLost(f'{self._path} holds no image')
            if not ok:
                self.length = self._position + 1
                raise EndOfFootage
            self._position += 1
            self._image = picture
        if self._image is None:  # skipped over, and then it turned out to be the last one
            self._rewind()
            return self.picture(position)
        return self._image

    def trust_announced_length(self) -> None:
        """Set `length` before playing if the last announced image is there, and is the last.

        What files announce is at times an estimate; then the first run to the end finds out.
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
        """Jump ahead if the decoder arrives where it was sent to, else stay at the beginning."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, position)
        arrived = round(self._capture.get(cv2.CAP_PROP_POS_FRAMES)) == position
        ok, picture = self._capture.read()
        if arrived and ok:
            self._position, self._image = position, picture
        else:
            self._rewind()
        return arrived and ok


class ImageFolder:
    """The images of a folder, img2 before img10; the first one sets the size.

    For a file that is no image the next one stands in. Raises OSError when the folder cannot be
    read, SourceLost when a file cannot, or none is an image.
    """

    def __init__(self, folder: str):
        names = (name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES))
        self._paths = [os.path.join(folder, name) for name in sorted(names, key=_natural)]
        if not self._paths:
            raise SourceLost(f'{folder} holds no images ({" ".join(IMAGE_SUFFIXES)})')
        self.length = len(self._paths)
        self._broken: set[str] = set()
        self.height, self.width = self.picture(0).shape[:2]

    def picture(self, position: int) -> np.ndarray:
        """Return the image at `position`."""
        if position >= self.length:
            raise EndOfFootage
        for path in self._paths[position:] + self._paths[:position]:
            try:
                data = np.fromfile(path, np.uint8)
            except OSError as error:
                raise SourceLost(f'{path} cannot be read: {error.strerror}') from None
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if picture is not None:
                return picture
            if path not in self._broken:
                self._broken.add(path)
                LOG.warning('%s cannot be decoded as an image: the next one stands in', path)
        raise SourceLost(f'{path} cannot be decoded as an image, nor can any other beside it')


def _natural(name: str) -> list:
    parts = re.split('([0-9]+)', name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


class SyntheticFootage:
    """A synthetic world sampled `fps` times a second, without end."""

    length = None

    def __init__(self, world: SyntheticWorld, fps: float):
        self._world, self._fps = world, fps
        self.width, self.height = world.width, world.height

    def picture(self, position: int) -> np.ndarray:
        """Return the world at `position` / fps seconds."""
        return self._world.render(position / self._fps, position)
