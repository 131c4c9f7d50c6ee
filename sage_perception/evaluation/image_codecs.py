# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""WebP, JPEG and AVIF on crops: size and quality at every quality setting."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, __version__, features

from sage_perception.core.metrics import psnr

CODECS: dict[str, dict[str, Any]] = {
    'webp': {'format': 'WEBP', 'method': 6},
    'jpeg': {'format': 'JPEG', 'optimize': True},
    'avif': {'format': 'AVIF', 'max_threads': 1},
}
"""Options of Pillow with the smallest files for a quality; AVIF at libavif's default speed."""
QUALITIES = range(101)


def require_codecs() -> None:
    """Raise `ModuleNotFoundError` unless Pillow was built with all codecs."""
    for name in ('webp', 'jpg', 'avif'):
        if not features.check(name):
            raise ModuleNotFoundError(
                f'Pillow {__version__} was built without {name}: pip install "pillow>=11.3"'
            )


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image with its quality setting and the original, uint8."""

    quality: int
    payload: bytes
    original: np.ndarray

    @property
    def bytes(self) -> int:
        """Return the size of the file, including headers, because they are transmitted too."""
        return len(self.payload)

    @cached_property
    def decoded(self) -> np.ndarray:
        """Return the decoded image, uint8 of the shape of the original."""
        mode = 'RGB' if self.original.ndim == 3 else 'L'
        return np.asarray(Image.open(io.BytesIO(self.payload)).convert(mode))

    @cached_property
    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio, dB, at most 100."""
        return psnr(self.decoded, self.original)


class QualityLadder:
    """One image at every quality setting of a codec, each encoded on first use.

    `codec` is a key of `CODECS`; `image` is uint8 RGB `[H, W, 3]` or gray `[H, W]`.
    """

    def __init__(self, codec: str, image: np.ndarray):
        self.options, self.image = CODECS[codec], image
        self._rungs: dict[int, EncodedImage] = {}

    def __getitem__(self, quality: int) -> EncodedImage:
        if quality not in self._rungs:
            file = io.BytesIO()
            Image.fromarray(self.image).save(file, quality=quality, **self.options)
            self._rungs[quality] = EncodedImage(quality, file.getvalue(), self.image)
        return self._rungs[quality]

    def within(self, budget: int) -> EncodedImage:
        """Return the best image of at most `budget` bytes, or the smallest if none fits."""
        if self[0].bytes >= budget:
            return self[0]
        return self[bisect_right(QUALITIES, budget, key=lambda q: self[q].bytes) - 1]

    def reaching(self, psnr: float) -> EncodedImage:
        """Return the smallest image of at least `psnr` dB, or the best if none reaches it."""
        if self[0].psnr >= psnr:
            return self[0]
        quality = bisect_left(QUALITIES, psnr, key=lambda q: self[q].psnr)
        return self[min(quality, QUALITIES[-1])]
