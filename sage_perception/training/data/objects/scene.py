# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A generated scene, and the composition of layers with masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

Rng = np.random.Generator


class Scene(NamedTuple):
    """An image, or the frames of a video, with the object at each pixel.

    Attributes:
        image: uint8 `[S, S, 3]` RGB, or `[T, S, S, 3]`.
        labels: uint8 `[S, S]`, or `[T, S, S]`; 0 is the background, other numbers are objects,
            the same in all frames.

    """

    image: np.ndarray
    labels: np.ndarray


class Layer(NamedTuple):
    """An object to draw: its color, float32 `[S, S, 3]` or `[3]`, opacity `[S, S]` and label."""

    color: np.ndarray
    opacity: np.ndarray
    label: int


def compose(background: np.ndarray, layers: Iterable[Layer]) -> Scene:
    """Draw layers over a background, float32 `[S, S, 3]` in [0, 1]; the last one is in front.

    A pixel belongs to the last object that covers at least half of it.
    """
    image: np.ndarray = background.astype(np.float32)
    labels = np.zeros(image.shape[:2], np.uint8)
    for color, opacity, label in layers:
        image = image + opacity[..., None] * (color - image)
        labels[opacity >= 0.5] = label
    return Scene((image.clip(0, 1) * 255 + 0.5).astype(np.uint8), labels)


def hsv(hue: np.ndarray | float, saturation: float, value: np.ndarray | float) -> np.ndarray:
    """Return RGB colors, float32 `[..., 3]` in [0, 1]; hue counts turns, so 1 is 0 again."""
    hues, values = np.broadcast_arrays(np.asarray(hue, np.float32), np.asarray(value, np.float32))
    phase = (hues[..., None] * 6 + np.array([0, 4, 2], np.float32)) % 6
    pure = np.clip(np.abs(phase - 3) - 1, 0, 1)
    return values[..., None] * (1 - saturation * (1 - pure))
