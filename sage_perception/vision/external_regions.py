# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Regions of another detector, which arrive some time after the frame that they were found in."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.boxes import Box, area, clip, iou
from sage_perception.vision.ego_motion import transform_point
from sage_perception.vision.regions import MAX_IOU, Candidate

MAX_AGE_S = 0.5
"""Age above which detections are dropped, seconds."""
STAMP_TOLERANCE_S = 0.005
"""Difference of two stamps up to which they are of the same frame, seconds."""
MIN_SAME_IOU = 0.3
"""Intersection over union from which two successive detections are of the same object."""
HISTORY = 128
"""Number of frames whose camera motion is kept."""


@dataclass(frozen=True)
class ExternalDetection:
    """A box in pixels of the frame, and its score in [0, 1].

    Raises `ValueError` for values that are not finite or not in range, and for an empty box.
    """

    box: Box
    score: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.box, self.score))):
            raise ValueError('a detection is not finite')
        if not 0 <= self.score <= 1:
            raise ValueError(f'the score of a detection is {self.score:g}, not in [0, 1]')
        if self.box[2] <= self.box[0] or self.box[3] <= self.box[1]:
            raise ValueError('the box of a detection is empty')


@dataclass(frozen=True)
class _Region:
    detection: ExternalDetection
    track_id: int


class ExternalRegions:
    """Keeps the newest detections and moves them with the camera to the present frame.

    The detections of a frame replace those before. They are used until newer ones arrive, at most
    until they are `MAX_AGE_S` old.

    Attributes:
        unmatched: number of sets of detections whose stamp is that of no recent frame.
    """

    def __init__(
        self, ids: Iterator[int], source: CropSource = CropSource.EXTERNAL, weight: float = 1.0
    ) -> None:
        """Take new track ids from `ids`; `source` and `weight` are those of the candidates."""
        self.unmatched = 0
        self._ids, self._source, self._weight = ids, source, weight
        self._frames: deque[tuple[float, np.ndarray]] = deque(maxlen=HISTORY)
        self._waiting: tuple[float, Sequence[ExternalDetection]] | None = None
        self._stamp_s = -math.inf
        self._regions: list[_Region] = []

    def clear(self) -> None:
        """Drop all regions and the history of the camera."""
        self._frames.clear()
        self._waiting = None
        self._stamp_s, self._regions = -math.inf, []

    def add(self, stamp_s: float, detections: Sequence[ExternalDetection]) -> None:
        """Set the detections of the frame with the stamp `stamp_s`, seconds."""
        if self._waiting is None or stamp_s >= self._waiting[0]:
            self._waiting = stamp_s, detections

    def move(self, stamp_s: float, matrix: np.ndarray) -> None:
        """Advance to a frame; `matrix` `[3, 3]` takes the last frame to it, pixels of the frame.

        Call it once for each frame, before `merge`.
        """
        self._frames.append((stamp_s, matrix))
        self._regions = [
            replace(region, detection=replace(region.detection, box=box))
            for region in self._regions
            if (box := _moved(region.detection.box, matrix)) is not None
        ]
        if self._waiting is not None:
            self._match(*self._waiting)
        if not 0 <= stamp_s - self._stamp_s <= MAX_AGE_S:
            self._regions = []

    def merge(
        self,
        moving: Sequence[Candidate],
        to_roi: Callable[[Box], Roi],
        width: int,
        height: int,
    ) -> list[Candidate]:
        """Return the moving objects and the detections as candidates, one for each object.

        A moving object that was detected keeps its tracked region. With the source EXTERNAL it
        becomes an external one; with another source both raise the score, as independent evidence
        does: 1 - (1 - a)·(1 - b). A detection without a moving object is a candidate of its own,
        with the region `to_roi(box)` and the score times the weight. Boxes outside of the frame of
        `width` x `height` pixels have none.
        """
        found = list(moving)
        taken = {candidate.track_id for candidate in moving}
        regions = []
        for region in self._regions:
            box = clip(region.detection.box, width, height)
            if area(box) <= 0:
                continue
            roi, score = to_roi(box), region.detection.score
            index = _most_overlapping(roi, found)
            if index is not None:
                before = found[index]
                found[index] = (
                    replace(before, score=max(before.score, score), source=self._source)
                    if self._source == CropSource.EXTERNAL
                    else replace(before, score=1 - (1 - before.score) * (1 - score))
                )
                region = replace(region, track_id=before.track_id)
            else:
                if region.track_id in taken:
                    region = replace(region, track_id=next(self._ids))
                found.append(Candidate(roi, self._weight * score, self._source, region.track_id))
            taken.add(region.track_id)
            regions.append(region)
        self._regions = regions
        return found

    def _match(self, stamp_s: float, detections: Sequence[ExternalDetection]) -> None:
        """Move new detections from their frame to the present one; keep them for a later one."""
        newest_s = self._frames[-1][0]
        if newest_s + STAMP_TOLERANCE_S < stamp_s <= newest_s + MAX_AGE_S:
            return  # the frame is still to come
        self._waiting = None
        offsets = [abs(at - stamp_s) for at, _ in self._frames]
        nearest = int(np.argmin(offsets))
        if offsets[nearest] > STAMP_TOLERANCE_S:
            self.unmatched += 1
            return
        matrix = np.eye(3)
        for _, step in list(self._frames)[nearest + 1 :]:
            matrix = step @ matrix
        before, self._regions = self._regions, []
        for detection in detections:
            box = _moved(detection.box, matrix)
            if box is not None:
                moved = replace(detection, box=box)
                self._regions.append(_Region(moved, self._id_of(moved, before)))
        self._stamp_s = stamp_s

    def _id_of(self, detection: ExternalDetection, before: list[_Region]) -> int:
        """Return the id of the same object in the detections before, or a new one."""
        if before:
            boxes = np.array([region.detection.box for region in before])
            overlaps = iou(boxes, np.array(detection.box))
            best = int(overlaps.argmax())
            if overlaps[best] >= MIN_SAME_IOU:
                return before.pop(best).track_id
        return next(self._ids)


def _most_overlapping(roi: Roi, candidates: Sequence[Candidate]) -> int | None:
    """Return the index of the moving candidate that shows the same object, None without one."""
    overlaps = [c.roi.iou(roi) if c.source == CropSource.MOTION else 0.0 for c in candidates] or [
        0.0
    ]
    best = int(np.argmax(overlaps))
    return best if overlaps[best] > MAX_IOU else None


def _moved(box: Box, matrix: np.ndarray) -> Box | None:
    """Return a box moved by a homography, with its size; None if it leaves the finite plane."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    to_x, to_y = transform_point(matrix, x, y)
    if not (math.isfinite(to_x) and math.isfinite(to_y)):
        return None
    return box[0] + to_x - x, box[1] + to_y - y, box[2] + to_x - x, box[3] + to_y - y
