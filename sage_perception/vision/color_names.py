# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Names of colors in images: the eleven basic color terms of English (Berlin and Kay, 1969)."""

from __future__ import annotations

import cv2
import numpy as np

COLORS = (
    'black', 'gray', 'white', 'red', 'orange', 'yellow', 'green', 'blue', 'purple', 'pink',
    'brown',
)  # fmt: skip
ALIASES = {'grey': 'gray', 'violet': 'purple', 'silver': 'gray', 'golden': 'yellow'}
_GRAYS = 3
_MIN_CHROMA = 0.14
"""Difference of the largest and the smallest channel below which a pixel is colorless."""
_BLACK, _WHITE = 0.22, 0.78
_HUES = ((12, 'red'), (40, 'orange'), (68, 'yellow'), (165, 'green'), (260, 'blue'),
         (300, 'purple'), (340, 'pink'), (360, 'red'))  # fmt: skip
"""Upper ends of hues in degrees, and their names."""
_BROWN_VALUE, _PINK_SATURATION = 0.62, 0.45
_SPREAD = 0.3
"""Standard deviation of the weights of pixels around the center, image sides."""


def color_shares(images: np.ndarray) -> np.ndarray:
    """Return the share of each of `COLORS` in images, float32 `[B, 11]`, each row of sum 1.

    `images` are uint8 RGB `[B, H, W, 3]`. Pixels near the center count most, where the object of a
    crop is.
    """
    height, width = images.shape[1:3]
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    weights = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * _SPREAD**2))
    weights /= weights.sum()
    shares = np.zeros((len(images), len(COLORS)), np.float32)
    for row, image in zip(shares, images, strict=True):
        row += np.bincount(_names(image).ravel(), weights.ravel(), len(COLORS)).astype(np.float32)
    return shares


def _names(image: np.ndarray) -> np.ndarray:
    """Return the number of the color of each pixel, `[H, W]`."""
    pixels = image.astype(np.float32) / 255
    hue, saturation, value = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
    ends = [end for end, _ in _HUES]
    by_hue = np.array([COLORS.index(name) for _, name in _HUES])
    names = by_hue[np.minimum(np.searchsorted(ends, hue, 'right'), len(ends) - 1)]
    dark_orange = (hue >= 12) & (hue < 45) & (value < _BROWN_VALUE)
    names = np.where(dark_orange, COLORS.index('brown'), names)
    pale = ((hue < 12) | (hue >= 300)) & (saturation < _PINK_SATURATION) & (value > 0.6)
    names = np.where(pale, COLORS.index('pink'), names)
    chroma = saturation * value
    gray = np.where(value < _BLACK, 0, np.where(value > _WHITE, 2, 1))
    return np.where((chroma < _MIN_CHROMA) | (value < _BLACK), gray, names).astype(np.int64)


def split_color(text: str) -> tuple[str | None, str]:
    """Return the color word of a text, None without one, and the text without that word."""
    words = text.split()
    for index, word in enumerate(words):
        plain = word.lower().strip('.,')
        name = ALIASES.get(plain, plain)
        if name in COLORS and len(words) > 1:
            return name, ' '.join(words[:index] + words[index + 1 :])
    return None, text


def main_color(shares: np.ndarray) -> str:
    """Return the color with the largest share `[11]`; a colorless one only if none has a third.

    Shadows and backgrounds are often gray, so a third of the pixels in one color outweighs them.
    """
    colored = shares[_GRAYS:]
    best = int(colored.argmax()) + _GRAYS
    return COLORS[best] if shares[best] > 1 / 3 else COLORS[int(shares.argmax())]
