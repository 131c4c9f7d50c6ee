# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The items of a frame that is divided among slots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sage_perception.slots.drawing import draw_frame, slot_colors
from sage_perception.slots.segmentation import segment, slot_regions
from sage_perception.slots.video import SlotFrame
from sage_perception.viewing.items import Boxes, HeatMap, ImageItem, Item, Scalar


def slot_items(frame: SlotFrame) -> Iterator[Item]:
    """Yield the items of a frame.

    The frame with the regions of its slots, the segmentation, the frame within the mask of each
    slot, the reconstruction, the slots as a heat map, and the share of the image that each slot
    holds. A slot has the same color and label in each frame, so its regions are its track.
    """
    original, segmentation, *parts, reconstruction = draw_frame(frame)
    segments = segment(frame.masks)
    colors = [(int(r), int(g), int(b)) for r, g, b in slot_colors(len(frame.masks))]
    names = [f'slot {slot}' for slot in range(len(frame.masks))]
    regions = slot_regions(frame.masks, segments)
    yield ImageItem(('frame', 'image'), original)
    yield Boxes(
        ('frame', 'regions'),
        [region.roi for region in regions],
        [names[region.slot] for region in regions],
        [colors[region.slot] for region in regions],
    )
    yield ImageItem(('segmentation',), segmentation)
    yield ImageItem(('reconstruction',), reconstruction)
    yield HeatMap(('latents',), frame.slots)
    areas = np.bincount(segments.ravel(), minlength=len(names)) / segments.size
    for name, part, area in zip(names, parts, areas, strict=True):
        yield ImageItem(('slots', name), part)
        yield Scalar(('area', name), float(area))
