# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""WebP, JPEG and AVIF on crops: what an image costs in bytes, and what it looks like for them."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, __version__, features

from sage_perception.core.metrics import psnr

# The settings that make each one smallest for its quality; AVIF at libavif's usual speed.
CODECS = {
    'webp': {'format': 'WEBP', 'method': 6},
    'jpeg': {'format': 'JPEG', 'optimize': True},
    'avif': {'format': 'AVIF', 'max_threads': 1},
}
QUALITIES = range(101)


def require_codecs() -> None:
    """Raise `ModuleNotFoundError` unless Pillow was built with all codecs."""
    for name in ('webp', 'jpg', 'avif'):
        if not features.check(name):
            raise ModuleNotFoundError(
                f'Pillow {__version__} was built without {name}: pip install "pillow>=11.3"'
            )


@dataclass(frozen=True)
class Encoded:
    """An image that went through a codec: the bytes of its file, and the original beside it."""

    payload: bytes
    original: np.ndarray

    @property
    def bytes(self) -> int:
        """Return the size of the whole file: headers are sent too."""
        return len(self.payload)

    @cached_property
    def picture(self) -> np.ndarray:
        """Return what comes out, uint8 of the original's shape."""
        mode = 'RGB' if self.original.ndim == 3 else 'L'
        return np.asarray(Image.open(io.BytesIO(self.payload)).convert(mode))

    @cached_property
    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio, dB, at most 100."""
        return psnr(self.picture, self.original)


class Ladder:
    """One image at every quality setting of a codec; each is encoded when first asked for.

    `codec` is a key of `CODECS`; `image` uint8 RGB `[H, W, 3]` or gray `[H, W]`.
    """

    def __init__(self, codec: str, image: np.ndarray):
        self.options, self.image = CODECS[codec], image
        self._rungs: dict[int, Encoded] = {}

    def __getitem__(self, quality: int) -> Encoded:
        if quality not in self._rungs:
            file = io.BytesIO()
            Image.fromarray(self.image).save(file, quality=quality, **self.options)
            self._rungs[quality] = Encoded(file.getvalue(), self.image)
        return self._rungs[quality]

    def within(self, budget: int) -> Encoded:
        """Return the best of at most `budget` bytes, the smallest of all if none is so small."""
        if self[0].bytes >= budget:
            return self[0]
        return self[bisect_right(QUALITIES, budget, key=lambda q: self[q].bytes) - 1]

    def reaching(self, psnr: float) -> Encoded:
        """Return the smallest of at least `psnr` dB, the best of all if none is so good."""
        if self[0].psnr >= psnr:
            return self[0]
        rung = bisect_left(QUALITIES, psnr, key=lambda q: self[q].psnr)
        return self[min(rung, QUALITIES[-1])]
