# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Moving objects in the view of a moving camera: the optical flow that the camera leaves over.

The residual of the flow counts where it explains the image better than the motion of the camera
does; in untextured areas, where both explain it, the flow is arbitrary. The evidence is averaged
over time along the flow.
"""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.vision.background import SQUARE3
from sage_perception.vision.ego_motion import CameraMotion
from sage_perception.vision.motion import Blob
from sage_perception.vision.parallax import Parallax

UNIT = 0.06
"""Residual that counts as evidence 1 in an image without noise, pixels per frame."""
NOISE_UNITS = 3.0
"""Multiple of the noise of the flow that is added to `UNIT`."""
MAX_EVIDENCE = 20.0
"""Evidence beyond which a residual no longer counts more."""
MIN_GAIN = 0.5
"""Gray levels by which the flow must explain a pixel better than the camera's motion."""
GAIN = (3.0, 0.08)
"""Further gray levels for full evidence: constant, and fraction of the local contrast."""
MISMATCH = (6.0, 0.5)
"""Gray levels at which the flow itself is doubtful: constant, and fraction of the contrast."""
AVERAGING_S = 0.08
"""Time constant of the average over frames, seconds."""
START_EVIDENCE, KEEP_EVIDENCE = 1.0, 0.5
"""Evidence from which a new object is reported, and one that is tracked already."""
MIN_OF_STRONGEST = 0.2
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
WINDOW = (5, 5)
"""Window of the local averages, pixels."""


class ResidualMotion:
    """Accumulates the evidence for motion that is not the camera's."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self.evidence = np.zeros((1, 1), np.float32)
        self._fresh = True
        self._parallax = Parallax()

    def remember(self, image: np.ndarray) -> None:
        """Keep `image` as the previous one without an estimate; evidence starts from 0."""
        self._previous = image
        self.evidence = np.zeros(image.shape[:2], np.float32)
        self._fresh = True

    def update(self, image: np.ndarray, camera: CameraMotion, dt: float) -> list[Blob]:
        """Return the moving areas of `image`, uint8 `[h, w, 3]` or `[h, w]`.

        `camera` is the motion since the previous image, `dt` the time since then, seconds.
        """
        previous = self._previous
        if previous is None or previous.shape != image.shape:
            self.remember(image)
            return []
        self._previous = image
        flow, background = camera.flow, camera.background_flow
        contrast = _local_contrast(image)
        by_flow, inside = _mismatch(image, previous, flow)
        certain = inside / (1 + (by_flow / (MISMATCH[0] + MISMATCH[1] * contrast)) ** 2)
        kept = _sample(self.evidence, flow)
        rate = np.float32(1 - np.exp(-dt / AVERAGING_S))
        history = (1 - rate) * (MIN_HISTORY + (1 - MIN_HISTORY) * certain)
        if self._fresh:
            history *= 0
        if not camera.valid:
            self.evidence = history * kept
            return []
        self._fresh = False
        by_camera, comparable = _mismatch(image, previous, background)
        gain = (by_camera - by_flow - MIN_GAIN) / (GAIN[0] + GAIN[1] * contrast)
        gain = np.clip(gain, 0, 1) * cv2.erode(comparable, np.ones(WINDOW, np.uint8))
        unit = UNIT + NOISE_UNITS * camera.noise
        residual = flow - background
        self._parallax.update(residual, gain * np.linalg.norm(residual, axis=2) / unit, dt)
        length = self._parallax.remove(residual)
        evidence = np.minimum(length / unit, MAX_EVIDENCE) * gain
        evidence = cv2.blur(evidence, WINDOW)
        # Where the flow leads to nothing known, the present evidence counts more.
        self.evidence = (history * kept + rate * evidence) / np.maximum(history + rate, FILL)
        return _blobs(self.evidence)

    def displace(
        self, box: tuple[float, float, float, float], camera: CameraMotion
    ) -> tuple[float, float, float, float] | None:
        """Return where the flow has moved `box` (left, top, right, bottom) of the previous frame.

        Half of the pixels decide, those with more evidence. Returns None if the box has left the
        image.
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
            flow = camera.flow[top:bottom, left:right].reshape(-1, 2)
            chosen = evidence >= np.partition(evidence, evidence.size // 2)[evidence.size // 2]
            y, x = np.divmod(np.flatnonzero(chosen), right - left)
            flow = flow[chosen]
            shift = np.median(flow, axis=0)
            around = np.stack([x - x.mean(), y - y.mean()], axis=1)
            growth = np.vdot(flow - shift, around) / (np.vdot(around, around) + 64.0)
            scale = 1 / (1 + float(np.clip(growth, -0.08, 0.08)))
            x0, y0 = (box[0] + box[2]) / 2 - shift[0], (box[1] + box[3]) / 2 - shift[1]
            half = scale * (box[2] - box[0]) / 2, scale * (box[3] - box[1]) / 2
            moved = (
                float(x0 - half[0]),
                float(y0 - half[1]),
                float(x0 + half[0]),
                float(y0 + half[1]),
            )
        return moved


def _blobs(evidence: np.ndarray) -> list[Blob]:
    """Return the connected areas of high evidence, each down to a fraction of its own peak."""
    limit = max(KEEP_EVIDENCE, MIN_OF_STRONGEST * float(evidence.max()))
    _, labels, stats, _ = cv2.connectedComponentsWithStats((evidence > limit).astype(np.uint8))
    blobs = []
    for label in range(1, len(stats)):
        x, y, width, height, area = stats[label].tolist()
        if area < MIN_AREA:
            continue
        rows, columns = slice(y, y + height), slice(x, x + width)
        own = np.where(labels[rows, columns] == label, evidence[rows, columns], 0)
        peak = float(np.percentile(own[own > 0], 90))
        _, _, parts, _ = cv2.connectedComponentsWithStats(
            (own > MIN_OF_PEAK * peak).astype(np.uint8)
        )
        for left, top, w, h, part in parts[1:].tolist():
            if part < max(MIN_AREA, MIN_PART * area) or w * h > MAX_FRACTION * evidence.size:
                continue
            box = (x + left, y + top, x + left + w, y + top + h)
            contrast = 1 - float(np.exp(-peak / 2))
            blobs.append(Blob(box, part, contrast, 1.0, peak > START_EVIDENCE))
    return sorted(blobs, key=lambda blob: -blob.area)


def _mismatch(
    image: np.ndarray, previous: np.ndarray, flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean difference around each pixel, gray levels, and 1 where it is known."""
    warped = _sample(previous, flow)
    difference = cv2.absdiff(image, warped)
    if difference.ndim == 3:
        difference = cv2.transform(difference, np.full((1, 3), 1 / 3, np.float32))
    x, y = _positions(flow)
    height, width = image.shape[:2]
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    return cv2.blur(difference.astype(np.float32), WINDOW), inside.astype(np.float32)


def _sample(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    x, y = _positions(flow)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _positions(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates x, y, float32 `[h, w]`, that the flow leads to."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x, y


def _local_contrast(image: np.ndarray) -> np.ndarray:
    """Return the mean range of gray levels in the neighborhood of each pixel, float32 `[h, w]`."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, SQUARE3)
    return cv2.blur(edges.astype(np.float32), WINDOW)
