# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Track blobs from frame to frame.

Detections are assigned to predictions by the Hungarian method (Bewley et al., "SORT", 2016), with
the motion of the camera compensated (Aharon et al., "BoT-SORT", 2022). A blob that splits into
parts keeps its track, and blobs that merge keep theirs. An object that comes back within a few
seconds is recognized by its thumbnail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from sage_perception.vision.boxes import (
    Box,
    area,
    center,
    clamp,
    contains,
    intersection,
    iou,
    size,
    union,
)
from sage_perception.vision.near_objects import Residual, fits_still_object
from sage_perception.vision.track import POSITION, Track

SIZE_S = (0.3, 0.3)
"""Time constants of a track's growing and shrinking, seconds."""
FLOW_SIZE_S = (0.06, 0.2)
"""The same where the optical flow carries the tracks."""
MERGED_S = 1.0
"""Time two tracks may share a blob before the younger one is dropped, seconds."""
NEAR_EVIDENCE = 5.0, 3.0
"""Evidence for still objects above which the camera may begin to pass near ones, and still does.

It is the sum of the log-likelihood ratios of the tracks in view that fit them, at most 4 each.
"""
NEAR_EVIDENCE_S = 1.0
"""Integral over time of what is above the first of them, from which it passes near ones, seconds.

Two moving objects often fit for a few frames.
"""
MOVES = 1.0
"""Log-likelihood ratio from which a track beside near objects moves by itself."""
PARALLAX_S = 2.0
"""Time for which it is expected to pass further ones, seconds."""
GATE = 3.0
"""Maximum distance between a prediction and its detection, standard deviations."""
MIN_IOU = 0.1
"""Intersection over union with the prediction that a detection outside the gate requires."""
MIN_PART_INSIDE = 0.6
"""Fraction of a detection inside a track's box above which it is a part of the track's object."""
MIN_PART_FILL = 0.5
"""Minimum fraction of their common box that two parts of one object fill."""
PART_GAIN = 1.1
"""Factor by which a part outside of that box must raise its overlap with what was found."""
OTHER_KIND = 0.5
"""Cost of a still track with a moving detection, or the reverse, beside near objects."""
MIN_SIMILARITY = 0.5
"""Correlation with its thumbnail below which a track without a detection ends."""
BLIND_S = 1.0
"""Time for which tracks wait while nothing can be seen, seconds."""
REENTRY_S = 3.0
"""Time within which an object that comes back gets its id again, seconds."""
REENTRY_SIMILARITY = 0.8
"""Correlation of the thumbnails that this requires."""
REENTRY_REACH = (1.0, 2.0)
"""Maximum distance of the return, sides of the object: constant, and per second of absence."""
REENTRY_SIZE = 1.7
"""Maximum ratio of the sides of an object before and after."""


@dataclass(frozen=True)
class Detection:
    """A blob: its box, pixels, and its contrast and activity in [0, 1].

    `starts` is whether it may start a track; `residual` is its motion by the optical flow.
    """

    box: Box
    contrast: float = 1.0
    activity: float = 1.0
    starts: bool = True
    residual: Residual | None = None

    @property
    def fits_still_object(self) -> bool:
        """Return whether it moves like a still object that is near."""
        return fits_still_object(self.residual)


@dataclass(frozen=True, eq=False)
class View:
    """What a frame tells beside its detections.

    Attributes:
        matrix: `[3, 3]`, the motion of the camera, from the last frame to this one, pixels.
        displace: returns where the optical flow has carried a box of the last frame, None outside
            of the image; None without optical flow.
        look: returns the thumbnail of a box, float32 with norm 1, None outside of the image; None
            without an image.
        blind: whether the frame is so blurred or full that nothing can be told from it.
    """

    matrix: np.ndarray = field(default_factory=lambda: np.eye(3))
    displace: Callable[[Box], Box | None] | None = None
    look: Callable[[Box], np.ndarray | None] | None = None
    blind: bool = False


STANDS = np.eye(3).tolist()
"""The motion of a camera that stands."""
STILL = View()
"""A camera that stands still, without an image."""


class Tracker:
    """Tracks blobs; `ids` yields the id of each new track."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._tracks: list[Track] = []
        self._lost: list[Track] = []
        self._blind_s = 0.0
        self._parallax_s = math.inf
        self._evidence_s = 0.0

    def clear(self) -> None:
        """Drop all tracks."""
        self._tracks = []
        self._lost = []
        self._parallax_s = math.inf
        self._evidence_s = 0.0

    @property
    def near_objects(self) -> bool:
        """Return whether the camera passes still objects that are near."""
        return self._parallax_s <= PARALLAX_S

    def update(
        self, detections: Sequence[Detection], dt: float, view: View = STILL
    ) -> list[Track]:
        """Process the blobs of a frame `dt` seconds after the last one; return all tracks."""
        self._blind_s = self._blind_s + dt if view.blind else 0.0
        if view.blind and self._blind_s <= BLIND_S:
            return self._tracks
        self._predict(dt, view)
        owners = self._assign(detections)
        unassigned = [track for track in self._tracks if track not in owners.values()]
        new = [d for i, d in enumerate(detections) if i not in owners]
        flowing = view.displace is not None
        for i, owner in owners.items():
            blob = detections[i]
            merged = [t for t in unassigned if t.confirmed and contains(blob.box, t.x, t.y)]
            if not flowing:
                inner = [t for t in merged if _is_inner(t, owner)]
                self._tracks = [t for t in self._tracks if t not in inner]
                merged = [t for t in merged if t not in inner]
            if merged and not flowing:
                self._share(blob, sorted([owner, *merged], key=lambda t: t.id), dt)
                continue
            parts = [
                d
                for d in new
                if _is_part(d.box, blob.box, owner, flowing)
                and not (self.near_objects and d.fits_still_object != blob.fits_still_object)
            ]
            new = [d for d in new if d not in parts]
            box = union([blob.box, *(d.box for d in parts)])
            was_confirmed = owner.confirmed
            owner.correct(*center(box), dt)
            owner.resize(*size(box), dt, FLOW_SIZE_S if flowing else SIZE_S)
            owner.shared_s, owner.shares = 0.0, False
            _update_appearance(owner, blob)
            if view.look:
                owner.learn(view.look(owner.box), dt)
            if owner.confirmed and not was_confirmed:
                self._recognize(owner)
        self._end_tracks(view)
        for blob in (d for d in new if d.starts):
            track = Track(
                next(self._ids), *center(blob.box), *size(blob.box), blob.contrast, blob.activity
            )
            if view.look:
                track.learn(view.look(track.box), dt)
            if blob.residual:
                track.residuals.add(blob.residual)
            self._tracks.append(track)
        self._find_near(dt)
        return self._tracks

    def _predict(self, dt: float, view: View) -> None:
        """Move the tracks, and the lost ones, to the present frame."""
        moves = view.matrix.tolist() != STANDS
        for track in [*self._tracks, *self._lost]:
            before = track.box
            if moves:
                track.move_with_camera(view.matrix)
            track.predict(dt)
            if view.displace and track in self._tracks:
                box = view.displace(before)
                if box:
                    track.carry(box)
                else:
                    track.missed_s = math.inf  # it has left the image
        self._lost = [track for track in self._lost if track.missed_s <= REENTRY_S]

    def _end_tracks(self, view: View) -> None:
        """Drop the tracks without detections and those that do not look like their object."""
        kept: list[Track] = []
        for track in sorted(self._tracks, key=lambda t: t.id):
            ends = track.missed_s > track.coast_s or track.shared_s > MERGED_S
            if track.carried and track.missed_s and view.look:
                thumbnail = view.look(track.box)
                ends |= thumbnail is None or track.similarity(thumbnail) < MIN_SIMILARITY
            if track.carried and not ends:
                ends = any(
                    _is_same(track.box, other.box)
                    for other in kept
                    if other.confirmed and not (self.near_objects and _differ(track, other))
                )
            if not ends:
                kept.append(track)
            elif track.confirmed:
                track.vx = track.vy = 0.0  # its way out of sight is unknown
                self._lost.append(track)
        self._tracks = kept

    def _find_near(self, dt: float) -> None:
        """Distinguish still, near objects from moving ones if several tracks fit the former.

        One alone could also be an object that moves with the image of the background.
        """
        evidence = -sum(
            track.residuals.moves
            for track in self._tracks
            if track.missed_s == 0 and track.residuals.fit_still_object
        )
        begins, continues = NEAR_EVIDENCE
        if self.near_objects:
            self._parallax_s = 0.0 if evidence >= continues else self._parallax_s + dt
            self._evidence_s = 0.0
        else:
            self._evidence_s = max(self._evidence_s + (evidence - begins) * dt, 0.0)
            if self._evidence_s >= NEAR_EVIDENCE_S:
                self._parallax_s = 0.0
        for track in self._tracks:
            track.near = self.near_objects and track.residuals.moves < MOVES

    def _recognize(self, track: Track) -> None:
        """Give a track that has just been confirmed the id of the lost one it continues."""
        best, similarity = None, REENTRY_SIMILARITY
        for lost in self._lost:
            if lost.thumbnail is None or track.thumbnail is None:
                continue
            side = max(lost.width, lost.height)
            reach = side * (REENTRY_REACH[0] + REENTRY_REACH[1] * lost.missed_s)
            near = max(abs(lost.x - track.x), abs(lost.y - track.y)) < reach
            ratio = max(track.width, track.height) / max(side, 1e-6)
            alike = lost.similarity(track.thumbnail)
            if near and 1 / REENTRY_SIZE < ratio < REENTRY_SIZE and alike > similarity:
                best, similarity = lost, alike
        if best:
            self._lost.remove(best)
            track.id = best.id

    def _assign(self, detections: Sequence[Detection]) -> dict[int, Track]:
        """Return the track of each assigned detection, by the index of the detection."""
        if not detections or not self._tracks:
            return {}
        found = np.array([blob.box for blob in detections])[:, None]
        expected = np.array([track.box for track in self._tracks])[None]
        overlap = iou(found, expected)
        offset = (found[..., :2] + found[..., 2:] - expected[..., :2] - expected[..., 2:]) / 2
        distance = np.hypot(offset[..., 0], offset[..., 1])
        gate = GATE * np.sqrt([t.covariance[0] + POSITION[0] ** 2 for t in self._tracks])
        reach = gate + np.max(expected[..., 2:] - expected[..., :2], axis=-1)
        costs = 1 - overlap + distance / reach
        if self.near_objects:
            kinds = np.array([blob.fits_still_object for blob in detections])[:, None]
            costs += OTHER_KIND * (kinds != [t.residuals.fit_still_object for t in self._tracks])
        allowed = (distance < gate) | (overlap > MIN_IOU)
        pairs = zip(*linear_sum_assignment(np.where(allowed, costs, 1e3)), strict=True)
        return {int(i): self._tracks[j] for i, j in pairs if allowed[i, j]}

    @staticmethod
    def _share(blob: Detection, tracks: list[Track], dt: float) -> None:
        """Update several tracks, oldest first, with the one blob they have merged into."""
        for track in tracks:
            track.correct(
                clamp(track.x, blob.box[0], blob.box[2], track.width),
                clamp(track.y, blob.box[1], blob.box[3], track.height),
                dt,
            )
            track.shares = True
            _update_appearance(track, blob)
        for younger in tracks[1:]:
            younger.shared_s += dt


def _update_appearance(track: Track, blob: Detection) -> None:
    track.contrast = blob.contrast
    track.activity = max(track.activity, blob.activity)
    if blob.residual:
        track.residuals.add(blob.residual)


def _is_part(box: Box, main: Box, track: Track, flowing: bool) -> bool:
    """Return whether `box` and `main`, the blob of `track`, are parts of one object."""
    both = union([box, main])
    filled = area(box) + area(main) > MIN_PART_FILL * area(both)
    # The residual of the flow shows only some parts of an object, such as its limbs.
    scattered = flowing and track.confirmed
    if intersection(box, track.box) > MIN_PART_INSIDE * area(box):
        return scattered or filled
    if not filled:
        return False
    with_box, without = iou(np.array([both, main]), np.array(track.box))
    return bool(with_box > PART_GAIN * without)


def _is_inner(track: Track, owner: Track) -> bool:
    """Return whether `track` is a part of the object of `owner`, which has taken its blob.

    Objects that meet lie beside each other when they begin to share a blob.
    """
    inside = intersection(track.box, owner.box) > MIN_PART_INSIDE * area(track.box)
    return inside and track.id > owner.id and not track.shares


def _differ(track: Track, other: Track) -> bool:
    """Return whether one of two tracks may be still and the other one moves."""
    return track.residuals.fit_still_object != other.residuals.fit_still_object


def _is_same(box: Box, other: Box) -> bool:
    """Return whether `box` overlaps `other` or lies in it so far that both show one object."""
    shared = intersection(box, other)
    return shared > 0.8 * area(box) or shared > (area(box) + area(other)) / 3
