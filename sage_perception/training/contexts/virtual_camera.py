# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Virtual cameras: windows of a scene, each with its own mirroring, exposure and delay."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sage_perception.core.latent import Roi

LabeledRegions = list[tuple[Roi, int]]
"""Regions of a frame with the labels of the objects in them."""


@dataclass(frozen=True)
class VirtualCamera:
    """A camera that shows a window of a scene.

    `x`, `y` and `side` are the window, relative to the width and height of the scene. `gain` is
    the factor of the pixel values. `late` is the delay of the camera in frames.
    """

    x: float
    y: float
    side: float
    mirrored: bool
    gain: float
    late: int

    def view(
        self, image: np.ndarray, regions: LabeledRegions
    ) -> tuple[np.ndarray, LabeledRegions]:
        """Return the image of the camera, uint8 BGR `[h, w, 3]`, and the regions in it."""
        height, width = image.shape[:2]
        x, y = int(self.x * width), int(self.y * height)
        wide, high = int(self.side * width), int(self.side * height)
        window = image[y : y + high, x : x + wide]
        moved = [(Roi(r.x - x, r.y - y, r.width, r.height), label) for r, label in regions]
        if self.mirrored:
            window = window[:, ::-1]
            moved = [
                (Roi(wide - r.x - r.width, r.y, r.width, r.height), label) for r, label in moved
            ]
        if self.gain != 1:
            window = cv2.convertScaleAbs(window, alpha=self.gain)
        return np.ascontiguousarray(window), moved


def draw_cameras(rng: np.random.Generator) -> list[VirtualCamera]:
    """Return one to four random virtual cameras."""
    cameras = []
    for number in range(rng.choice([1, 2, 3, 4], p=[0.3, 0.45, 0.15, 0.1])):
        side = 1.0 if rng.random() < 0.3 else rng.uniform(0.55, 0.95)
        cameras.append(
            VirtualCamera(
                rng.uniform(0, 1 - side),
                rng.uniform(0, 1 - side),
                side,
                bool(rng.random() < 0.25),
                1.0 if rng.random() < 0.5 else rng.uniform(0.75, 1.25),
                0 if not number or rng.random() < 0.5 else int(rng.integers(1, 10)),
            )
        )
    return cameras
