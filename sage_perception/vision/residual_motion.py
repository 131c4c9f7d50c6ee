# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Moving objects in the view of a moving camera: the optical flow that the camera leaves over.

The residual of the flow counts where it explains the image better than the motion of the camera
does; in untextured areas, where both explain it, the flow is arbitrary. The evidence is averaged
over time along the flow.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from sage_perception.vision.background import SQUARE3, SQUARE5
from sage_perception.vision.ego_motion import CameraMotion, homography_positions
from sage_perception.vision.motion import Blob, connected_areas
from sage_perception.vision.near_objects import Residual, off_line

UNIT = 0.06
"""Residual that counts as evidence 1 in an image without noise, pixels per frame."""
NOISE_UNITS = 3.0
"""Multiple of the noise of the flow that is added to `UNIT`."""
MAX_EVIDENCE = 20.0
"""Evidence beyond which a residual no longer counts more."""
MIN_GAIN = 0.5
"""Gray levels by which the flow must explain a pixel better than the camera's motion."""
GAIN = (3.0, 0.05)
"""Further gray levels for full evidence: constant, and fraction of the local contrast."""
MISMATCH = (6.0, 0.5)
"""Gray levels at which the flow itself is doubtful: constant, and fraction of the contrast."""
AVERAGING_S = 0.06
"""Time constant of the average over frames, seconds."""
START_EVIDENCE, KEEP_EVIDENCE = 1.0, 0.5
"""Evidence from which a new object is reported, and one that is tracked already."""
MIN_OF_STRONGEST = 0.12
"""Evidence relative to the strongest in the image below which no object is reported."""
MIN_OF_PEAK = 0.35
"""Evidence relative to the object's own above which a pixel belongs to it."""
MIN_PART = 0.15
"""Fraction of a connected area that a part must have to be reported as an object."""
MIN_AREA = 9
"""Minimum number of pixels of an object."""
MAX_FRACTION = 0.85
"""Fraction of the image above which a residual is not an object."""
MIN_HISTORY = 0.3
"""Weight of the evidence so far where the flow is doubtful."""
FILL = 0.7
"""Limit of the weight that replaces the evidence so far where there is none."""
MIN_SEEN = 0.3
"""Fraction of a box inside of the image below which its object has left."""
THIRDS = np.full((1, 3), 1 / 3, np.float32)
"""Weights of the channels in the mean."""
WINDOW = (5, 5)
"""Window of the local averages, pixels."""


class ResidualMotion:
    """Accumulates the evidence for motion that is not the camera's."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self.evidence = np.zeros((1, 1), np.float32)
        self._fresh = True

    def remember(self, image: np.ndarray) -> None:
        """Keep `image` as the previous one without an estimate; evidence starts from 0."""
        self._previous = image
        self.evidence = np.zeros(image.shape[:2], np.float32)
        self._fresh = True

    def update(
        self, image: np.ndarray, camera: CameraMotion, dt: float, near_objects: bool = False
    ) -> list[Blob]:
        """Return the moving areas of `image`, uint8 `[h, w, 3]` or `[h, w]`.

        `camera` is the motion since the previous image, `dt` the time since then, seconds. Where
        the camera passes `near_objects`, areas are divided into what may be still and the rest.
        """
        previous = self._previous
        if previous is None or previous.shape != image.shape:
            self.remember(image)
            return []
        self._previous = image
        contrast = _local_contrast(image)
        to_x, to_y = _positions(camera.flow)
        by_flow, inside = _mismatch(image, previous, to_x, to_y)
        certain = by_flow / (MISMATCH[0] + MISMATCH[1] * contrast)
        certain *= certain
        certain += 1
        rate = np.float32(1 - math.exp(-dt / AVERAGING_S))
        history = (1 - rate) * (1 - MIN_HISTORY) / certain
        history *= inside
        history += (1 - rate) * MIN_HISTORY
        if self._fresh:
            history[:] = 0
        kept = _sample(self.evidence, to_x, to_y)
        kept *= history
        if not camera.valid:
            self.evidence = kept
            return []
        self._fresh = False
        camera_x, camera_y = homography_positions(camera.matrix, contrast.shape)
        gain, comparable = _mismatch(image, previous, camera_x, camera_y)
        gain -= by_flow
        gain -= MIN_GAIN
        contrast *= GAIN[1]
        contrast += GAIN[0]
        gain /= contrast
        np.clip(gain, 0, 1, out=gain)
        gain *= cv2.erode(comparable.view(np.uint8), SQUARE5)
        unit = UNIT + NOISE_UNITS * camera.noise
        residual = np.stack([to_x - camera_x, to_y - camera_y])
        evidence = cv2.magnitude(*residual)
        evidence *= np.float32(1 / unit)
        np.minimum(evidence, MAX_EVIDENCE, out=evidence)
        evidence *= gain
        evidence = cv2.blur(evidence, WINDOW)
        evidence *= rate
        evidence += kept
        # Where the flow leads to nothing known, the present evidence counts more.
        history += rate
        np.maximum(history, FILL, out=history)
        np.divide(evidence, history, out=evidence)
        self.evidence = np.asarray(evidence, np.float32)
        divided = None
        if near_objects:
            flow = np.stack(cv2.split(camera.flow))
            divided = off_line(residual, flow - residual, gain)
        return _blobs(evidence, camera.flow, residual, gain, divided)

    def displace(
        self, box: tuple[float, float, float, float], camera: CameraMotion
    ) -> tuple[float, float, float, float] | None:
        """Return where the flow has moved `box` (left, top, right, bottom) of the previous frame.

        The pixels of the object decide, at most half of the box: those with the most evidence.
        Returns None if the box has left the image.
        """
        height, width = self.evidence.shape
        moved = box
        for _ in range(2):  # the flow starts from the present position, which is sought
            left, top = max(round(moved[0]), 0), max(round(moved[1]), 0)
            right, bottom = min(round(moved[2]), width), min(round(moved[3]), height)
            whole = (moved[2] - moved[0]) * (moved[3] - moved[1])
            if (right - left) * (bottom - top) < max(MIN_SEEN * whole, 4) or right <= left:
                return None
            evidence = self.evidence[top:bottom, left:right].ravel()
            half, most = evidence.size // 2, evidence.size - 1 - evidence.size // 10
            ranked = np.partition(evidence, (half, most))
            chosen = evidence >= max(ranked[half], MIN_OF_PEAK * ranked[most])
            y, x = np.divmod(np.flatnonzero(chosen), right - left)
            flow = camera.flow[top:bottom, left:right].reshape(-1, 2)[chosen].T
            middle = len(x) // 2
            shift_x, shift_y = np.partition(flow, middle, axis=1)[:, middle].tolist()
            x, y = x - x.sum() / len(x), y - y.sum() / len(y)
            # The shift does not matter here: x and y have the mean 0.
            growth = (flow[0] @ x + flow[1] @ y) / (x @ x + y @ y + 64.0)
            scale = 1 / (1 + min(max(float(growth), -0.08), 0.08))
            x0, y0 = (box[0] + box[2]) / 2 - shift_x, (box[1] + box[3]) / 2 - shift_y
            dx, dy = scale * (box[2] - box[0]) / 2, scale * (box[3] - box[1]) / 2
            moved = (x0 - dx, y0 - dy, x0 + dx, y0 + dy)
        return moved


def _blobs(
    evidence: np.ndarray,
    flow: np.ndarray,
    residual: np.ndarray,
    weights: np.ndarray,
    divided: np.ndarray | None,
) -> list[Blob]:
    """Return the connected areas of high evidence, each down to a fraction of its own peak.

    `flow` `[h, w, 2]` and `residual` `[2, h, w]`, pixels, are averaged in them with `weights`
    `[h, w]`. Areas are divided at the borders of `divided`, bool `[h, w]`, if it is given.
    """
    limit = max(KEEP_EVIDENCE, MIN_OF_STRONGEST * float(evidence.max()))
    labels, stats = connected_areas((evidence > limit).view(np.uint8))
    blobs = []
    for label, (x, y, width, height, area) in enumerate(stats.tolist()):
        if label == 0 or area < MIN_AREA:
            continue
        rows, columns = slice(y, y + height), slice(x, x + width)
        own = evidence[rows, columns] * (labels[rows, columns] == label)
        rank = own.size - 1 - area // 10
        peak = float(np.partition(own, rank, axis=None)[rank])  # the 90th percentile of the area
        mask = own > MIN_OF_PEAK * peak
        part_labels, parts = _parts(mask, None if divided is None else divided[rows, columns])
        for number, (left, top, w, h, part) in enumerate(parts.tolist()):
            if number == 0 or part < max(MIN_AREA, MIN_PART * area):
                continue
            if w * h > MAX_FRACTION * evidence.size:
                continue
            box = (x + left, y + top, x + left + w, y + top + h)
            contrast = 1 - math.exp(-peak / 2)
            inner = np.s_[top : top + h, left : left + w]
            where = np.s_[y + top : y + top + h, x + left : x + left + w]
            weight = weights[where] * (part_labels[inner] == number)
            mean = _mean_residual(flow[where], residual[:, where[0], where[1]], weight)
            blobs.append(Blob(box, part, contrast, 1.0, peak > START_EVIDENCE, mean))
    return sorted(blobs, key=lambda blob: -blob.area)


def _parts(mask: np.ndarray, divided: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and statistics of the parts of an area, bool `[h, w]`, like OpenCV."""
    labels, stats = connected_areas(mask.view(np.uint8))
    if divided is None:
        return labels, stats
    within = mask & divided
    count, area = int(np.count_nonzero(within)), int(np.count_nonzero(mask))
    if min(count, area - count) < max(MIN_AREA, MIN_PART * area):
        return labels, stats
    labels, stats = connected_areas(within.view(np.uint8))
    others, other_stats = connected_areas((mask & ~divided).view(np.uint8))
    labels = np.where(others > 0, others + len(stats) - 1, labels)
    return labels, np.concatenate([stats, other_stats[1:]])


def _mean_residual(flow: np.ndarray, residual: np.ndarray, weight: np.ndarray) -> Residual | None:
    """Return the mean motion of an area; None if no pixel of it has a weight."""
    total = float(weight.sum())
    if total <= 0:
        return None
    own_x, own_y = (float(np.vdot(part, weight)) / total for part in residual)
    x, y = (float(np.vdot(part, weight)) / total for part in cv2.split(flow))
    return Residual(own_x, own_y, x - own_x, y - own_y)


def _mismatch(
    image: np.ndarray, previous: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean difference around each pixel, gray levels, and bool, where it is known.

    x and y, float32 `[h, w]`, are the positions in `previous`.
    """
    # Linear interpolation blurs fine texture by more than a slow object moves it.
    difference = cv2.absdiff(image, _sample(previous, x, y, cv2.INTER_CUBIC))
    if difference.ndim == 3:
        difference = cv2.transform(difference, THIRDS)  # the hue of an object counts, too
    height, width = image.shape[:2]
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    return cv2.boxFilter(difference, cv2.CV_32F, WINDOW), inside


def _sample(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    return cv2.remap(image, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _positions(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates x, y, float32 `[h, w]`, that the flow leads to."""
    x, y = cv2.split(flow)
    x += np.arange(x.shape[1], dtype=np.float32)
    y += np.arange(y.shape[0], dtype=np.float32)[:, None]
    return x, y


def _local_contrast(image: np.ndarray) -> np.ndarray:
    """Return the mean range of gray levels in the neighborhood of each pixel, float32 `[h, w]`."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, SQUARE3)
    return cv2.boxFilter(edges, cv2.CV_32F, WINDOW)
