# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draw crops from images at many scales, and from the regions that motion attention selects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sage_perception.training.data.clips import RegionFrame, read_clips
from sage_perception.training.data.images import ImagePyramid, read_rgb

MIN_CONTRAST = 8.0
"""Standard deviation, gray levels, below which a crop has hardly any content."""
LOW_CONTRAST_SHARE = 0.2
"""Share of the crops below `MIN_CONTRAST` that are accepted."""


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut.

    Attributes
    ----------
    size : int
        Side of a crop in pixels.
    smallest : int
        Smallest side that is cut out of an image, in pixels. The side is log-uniform between
        `smallest` and the shorter side of the image. Regions of clips may be smaller, unless
        `smallest` is at least `size`, which excludes upscaling.
    native : bool
        Cut `size` source pixels a side, without scaling.
    whole : bool
        Take the whole center square of an image.
    loose : bool
        Shift and scale the regions of clips a little.

    """

    size: int = 64
    smallest: int = 48
    native: bool = False
    whole: bool = False
    loose: bool = False


class Stills:
    """Crops from anywhere in a set of image files, each file equally often.

    With `balanced`, a folder of N files is chosen with a chance proportional to the square root of
    N, so that a large collection of similar images does not displace the others. Raises
    `ValueError` for a file that is not a complete image.
    """

    def __init__(self, files: Sequence[Path], balanced: bool = False):
        self.files = list(files)
        self.images = [ImagePyramid(read_rgb(path)) for path in self.files]
        self._chances = folder_chances(self.files) if balanced else None

    def __len__(self) -> int:
        return len(self.images)

    def pick(self, rng: np.random.Generator) -> ImagePyramid:
        """Return a random image."""
        if self._chances is None:
            return self.images[rng.integers(len(self.images))]
        return self.images[rng.choice(len(self.images), p=self._chances)]

    def draw(self, rng: np.random.Generator, config: CropConfig) -> np.ndarray:
        """Return one crop, uint8 RGB `[S, S, 3]`; most crops of low contrast are redrawn."""
        while True:
            image = self.pick(rng)
            height, width = image.shape
            longest = min(height, width)
            if config.whole:
                left, top = (width - longest) / 2, (height - longest) / 2
                return image.cut(left, top, longest, config.size)
            side = config.size if config.native else log_uniform(rng, config.smallest, longest)
            side = min(side, longest)
            left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
            crop = image.cut(left, top, side, config.size)
            if crop.std() >= MIN_CONTRAST or rng.random() < LOW_CONTRAST_SHARE:
                return crop


class Clips:
    """Crops that motion attention selects in clips, each clip equally often.

    Every image topic and every crop topic of a bag counts as a clip. Raises `ValueError` for a
    clip without motion.
    """

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self.clips: list[list[RegionFrame]] = []
        for path in self.files:
            clips = [frames for frames in read_clips(path) if frames]
            if not clips:
                raise ValueError(f'{path}: motion attention finds no moving object: exclude it')
            self.clips += clips

    def __len__(self) -> int:
        return sum(len(frames) for frames in self.clips)

    def draw(self, rng: np.random.Generator, config: CropConfig) -> np.ndarray:
        """Return one crop, uint8 RGB `[S, S, 3]`."""
        frames = self.clips[rng.integers(len(self.clips))]
        image, regions = frames[rng.integers(len(frames))]
        x, y, extent = regions[rng.integers(len(regions))]
        side = float(extent)
        center = np.array([x, y]) + side / 2
        if config.native:
            side = config.size
        elif config.loose:
            side *= log_uniform(rng, 0.7, 1.5)
            center += rng.uniform(-0.15, 0.15, 2) * side
        if config.smallest >= config.size:
            side = max(side, config.size)
        left, top = center - side / 2
        return image.cut(left, top, side, config.size)


CropSource = Stills | Clips


def folder_chances(files: Sequence[Path]) -> np.ndarray:
    """Return the chance of each file, `[N]`: for its folder, the square root of its files."""
    counts = Counter(path.parent for path in files)
    chances = np.array([counts[path.parent] ** -0.5 for path in files])
    return chances / chances.sum()


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between `low` and `high` whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))
