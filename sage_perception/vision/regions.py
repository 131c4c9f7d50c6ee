# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Regions that compete for the crops of a frame."""

from __future__ import annotations

from dataclasses import dataclass

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.boxes import Box, area, intersection

MAX_IOU = 0.5
"""Intersection over union above which the weaker of two regions is suppressed."""
MAX_CONTAINED = 0.85
"""Fraction of a region inside another above which the smaller one is redundant."""

_ORDER = {CropSource.EXTERNAL: 0, CropSource.MOTION: 1}


@dataclass(frozen=True)
class Candidate:
    """A region that competes for a crop.

    `extent` is the box of the object in it, pixels; None if the region fits it.
    """

    roi: Roi
    score: float
    source: CropSource
    track_id: int
    extent: Box | None = None

    def hides(self, other: Candidate) -> bool:
        """Return whether this region makes another one redundant, which lies in it.

        The square region of a long object contains much else. What has been tracked for longer is
        hidden only if the object itself lies in the box of this one.
        """
        if other.roi.fraction_inside(self.roi) <= MAX_CONTAINED:
            return False
        if self.extent is None or other.extent is None or self.track_id < other.track_id:
            return True
        return intersection(other.extent, self.extent) > MAX_CONTAINED * area(other.extent)


def suppress(candidates: list[Candidate], count: int) -> list[Candidate]:
    """Return the `count` best candidates without redundant ones.

    Detections of other detectors come first, then moving objects. Of two regions that overlap by
    more than `MAX_IOU` the weaker is dropped. Of two objects of which one contains the other the
    smaller is dropped, unless the larger is much weaker.
    """
    kept: list[Candidate] = []
    for c in sorted(candidates, key=lambda c: (_ORDER.get(c.source, 2), -c.score)):
        if any(k.roi.iou(c.roi) > MAX_IOU or k.hides(c) for k in kept):
            continue
        if c.source == CropSource.MOTION:
            kept = [
                k
                for k in kept
                if k.source == CropSource.EXTERNAL or not c.hides(k) or c.score < k.score / 2
            ]
        kept.append(c)
    return kept[:count]
