# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Segments of an image: which slot each pixel belongs to, and where each slot is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Roi

MIN_AREA = 0.002
"""Smallest area of a segment that counts as a region, fraction of the image."""


@dataclass(frozen=True)
class SlotRegion:
    """Where a slot is in an image.

    Attributes:
        slot: number of the slot.
        roi: bounding box, pixels.
        area: fraction of the image, in (0, 1].
        confidence: mean mask within the segment, in [1 / K, 1].

    """

    slot: int
    roi: Roi
    area: float
    confidence: float


def segment(masks: np.ndarray) -> np.ndarray:
    """Return the slot with the largest mask at each pixel: `[K, S, S]` to uint8 `[S, S]`."""
    return masks.argmax(0).astype(np.uint8)


def slot_regions(
    masks: np.ndarray, segments: np.ndarray, min_area: float = MIN_AREA
) -> list[SlotRegion]:
    """Return the regions of the slots in masks `[K, S, S]`, largest first.

    `segments` are those of `segment`. A slot whose segment is smaller than `min_area` of the image
    has no region.
    """
    regions = []
    for slot in range(len(masks)):
        inside = segments == slot
        area = float(inside.mean())
        if not inside.any() or area < min_area:
            continue
        ys, xs = np.nonzero(inside.any(1))[0], np.nonzero(inside.any(0))[0]
        left, top = int(xs[0]), int(ys[0])
        roi = Roi(left, top, int(xs[-1]) + 1 - left, int(ys[-1]) + 1 - top)
        regions.append(SlotRegion(slot, roi, area, float(masks[slot][inside].mean())))
    return sorted(regions, key=lambda region: -region.area)
