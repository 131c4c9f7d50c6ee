# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Regions that compete for the crops of a frame."""

from __future__ import annotations

from dataclasses import dataclass

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi

MAX_IOU = 0.5
"""Intersection over union above which the weaker of two regions is suppressed."""
MAX_CONTAINED = 0.85
"""Fraction of a region inside another above which the smaller one is redundant."""

_ORDER = {CropSource.EXTERNAL: 0, CropSource.MOTION: 1}


@dataclass(frozen=True)
class Candidate:
    """A region that competes for a crop."""

    roi: Roi
    score: float
    source: CropSource
    track_id: int


def suppress(candidates: list[Candidate], count: int) -> list[Candidate]:
    """Return the `count` best candidates without redundant ones.

    Detections of other detectors come first, then moving objects. Of two regions that overlap by
    more than `MAX_IOU` the weaker is dropped. Of two regions of which one contains the other the
    smaller is dropped, unless the larger is much weaker.
    """
    kept: list[Candidate] = []
    for c in sorted(candidates, key=lambda c: (_ORDER.get(c.source, 2), -c.score)):
        if any(
            k.roi.iou(c.roi) > MAX_IOU or c.roi.fraction_inside(k.roi) > MAX_CONTAINED
            for k in kept
        ):
            continue
        if c.source == CropSource.MOTION:
            kept = [
                k
                for k in kept
                if k.source == CropSource.EXTERNAL
                or k.roi.fraction_inside(c.roi) <= MAX_CONTAINED
                or c.score < k.score / 2
            ]
        kept.append(c)
    return kept[:count]
