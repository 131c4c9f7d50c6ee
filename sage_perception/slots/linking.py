# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of single frames linked over time, so that one slot stays with one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from sage_perception.models.mask_refinement import MaskRefinement, color_terms, fit_color

MIN_AREA = 0.004
"""Area below which a region or an object is not visible, fraction of the image."""
STILL_AREA = 0.25
"""Area from which an object is the background or like it and does not move."""
WHOLE = 0.8
"""Share of its largest area from which an object counts as whole."""
SHRINKING = 0.98, 0.97
"""Factor of the largest area of an object for each frame in which it is whole or partly visible:
an object that moves away, or was joined with another one, is whole again after a while."""
COLOR_RATE = 0.3
"""Weight of a frame in the color of an object."""
PRIOR_WIDTH = 5
"""Side of the window over which a predicted mask is averaged, pixels of 64 in the image."""
MIN_PRIOR = 0.01
"""Prior of an object at a pixel far from its predicted mask."""
VELOCITY_FRAMES = 8
"""Number of last whole frames that a velocity is estimated from."""
SAME_COLOR = 0.2
"""Distance of colors up to which a new region may be a hidden object."""
REACH, GROWTH = 0.25, 1 / 32
"""The same of positions, in halves of the image, and its growth with each hidden frame."""
HISTORY = 36
"""Frames after which the slot of a hidden object is given to a new one if no other is free."""


class LinkedSlots(NamedTuple):
    """The slots of a frame, in the order of the objects they hold in the video.

    Attributes:
        slots: float32 `[K, D]`; the slot of a hidden object is the last one it had.
        masks: float32 `[K, S, S]`, which sum to 1 over the slots.

    """

    slots: np.ndarray
    masks: np.ndarray


@dataclass
class _Object:
    """What is remembered of an object.

    Attributes:
        color: coefficients `[3, C]` of its color: constant, and by x and y from its center.
        mask: float32 `[S, S]`, the object when it was whole last.
        part: float32 `[S, S]`, what was visible later, 0 if it is whole.
        area: the largest, fraction of the image; decreases slowly.
        centers: the last frames in which it was whole, and its center (x, y) in [-1, 1].
        visible: the last frame in which it was visible.
        slot: float32 `[D]`, its last latent.
    """

    color: np.ndarray
    mask: np.ndarray
    part: np.ndarray
    area: float
    centers: list[tuple[int, np.ndarray]]
    visible: int
    slot: np.ndarray

    @property
    def still(self) -> bool:
        """Return whether the object is so large that it does not move."""
        return self.area > STILL_AREA

    def center(self, frame: int) -> np.ndarray:
        """Return the center at `frame`, at constant velocity, within the image."""
        (start, first), (end, last) = self.centers[0], self.centers[-1]
        step = (last - first) / max(end - start, 1)
        return (last + (frame - end) * step).clip(-1, 1)

    def moved_mask(self, frame: int) -> np.ndarray:
        """Return the mask at the center at `frame`, float32 `[S, S]`.

        What was visible of a partly hidden object in the frame before belongs to it, in case it
        changed its direction.
        """
        size = len(self.mask)
        shift = (self.center(frame) - self.centers[-1][1]) * (size - 1) / 2
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        moved = cv2.warpAffine(self.mask, matrix, (size, size))
        return np.maximum(moved, self.part) if self.visible >= frame - 1 else moved


class SlotLinker:
    """Links the slots of the successive frames of one video, each of which was divided alone.

    An object is remembered by its color, affine in the position, its mask and its velocity. Each
    pixel of the next frame goes to the object whose color and moved mask explain it best, so that
    objects which a single frame joins or divides differently remain the same (a mixture of moving
    layers, after Jojic and Frey, Learning flexible sprites in video layers, 2001). Regions of
    the single frame that the objects explain badly, by the `penalty` and `tolerance` of the
    refinement, are a hidden object of that color nearby, or a new one, which takes a free slot.
    An object that is partly or wholly hidden moves on at constant velocity and keeps its color.
    """

    def __init__(self, refinement: MaskRefinement) -> None:
        """Prepare for a video of a model with this `refinement`, of which the noise is used."""
        self._refinement = refinement
        self._objects: dict[int, _Object] = {}
        self._frame = -1

    def link(self, slots: np.ndarray, masks: np.ndarray, x: np.ndarray) -> LinkedSlots:
        """Return the slots of the next frame, slot k with the object it had before.

        Args:
            slots: float32 `[K, D]`, those of the frame alone.
            masks: their refined masks, float `[K, S, S]`.
            x: the frame, float `[C, S, S]` in [0, 1].

        """
        self._frame += 1
        pixels = self._refinement.colors(x).astype(np.float64)
        owner = masks.argmax(0)
        regions = {k: owner == k for k in range(len(masks))}
        regions = {k: each for k, each in regions.items() if each.mean() >= MIN_AREA}
        if not self._objects:
            # A frame of many small regions has a largest one as well.
            regions = regions or {int(owner[0, 0]): np.ones_like(owner, bool)}
            self._objects = {k: self._new(each, pixels, slots[k]) for k, each in regions.items()}
        shares, error = self._explain(pixels, len(masks))
        now = shares.argmax(0)
        found = [
            self._open(each, pixels, slots[k], now, error, len(masks))
            for k, each in regions.items()
        ]
        if any(found):
            shares, _ = self._explain(pixels, len(masks))
        now = shares.argmax(0)
        linked = self._ordered(slots, owner, now)
        for k, each in self._objects.items():
            inside = now == k
            if inside.mean() >= MIN_AREA:
                self._update(each, inside, pixels)
                each.slot = linked[k]
            linked[k] = each.slot
        return LinkedSlots(linked, shares)

    def _new(self, inside: np.ndarray, pixels: np.ndarray, slot: np.ndarray) -> _Object:
        """Return an object that is seen for the first time, at the pixels `inside`."""
        area = float(inside.mean())
        center = _center(inside) if area <= STILL_AREA else np.zeros(2)
        color = _color(pixels, inside, center)
        mask = inside.astype(np.float32)
        centers = [(self._frame, center)]
        return _Object(color, mask, np.zeros_like(mask), area, centers, self._frame, slot)

    def _explain(self, pixels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how the objects share the pixels, and how well.

        Returns:
            The share of each slot, float32 `[K, S, S]`, 0 for those without an object; and the
            squared distance of each pixel from the color of its object, `[S, S]`.

        """
        size = pixels.shape[-1]
        width = max(PRIOR_WIDTH * size // 64, 1)
        scores = np.full((count, size, size), -np.inf)
        errors = np.zeros((count, size, size))
        for k, each in self._objects.items():
            center = each.center(self._frame)
            color = np.tensordot(each.color, color_terms(size, center), (0, 0))
            errors[k] = np.square(color - pixels).sum(0)
            prior = cv2.blur(each.moved_mask(self._frame), (width, width)).clip(MIN_PRIOR)
            scores[k] = np.log(prior) - errors[k] / (2 * self._refinement.noise**2)
        shares = np.exp(scores - scores.max(0))
        shares /= shares.sum(0)
        error = np.take_along_axis(errors, shares.argmax(0)[None], 0)[0]
        return shares.astype(np.float32), error

    def _open(
        self,
        inside: np.ndarray,
        pixels: np.ndarray,
        slot: np.ndarray,
        owner: np.ndarray,
        error: np.ndarray,
        count: int,
    ) -> bool:
        """Give a region that the objects explain badly to a hidden or a new object, if one is.

        `owner` and `error` are the object of each pixel and the squared distance from its color.
        """
        center = _center(inside)
        color = _color(pixels, inside, center)
        fitted = np.tensordot(color, color_terms(len(inside), center)[:, inside], (0, 0))
        saved = error[inside].sum() - np.square(fitted - pixels[:, inside]).sum()
        nats = saved / (2 * self._refinement.noise**2)
        distance = np.sqrt(max(saved, 0) / inside.sum())
        if nats < self._refinement.penalty or distance < self._refinement.tolerance:
            return False
        known = self._hidden_object(color[0], center, owner)
        if known is not None:
            known.mask = inside.astype(np.float32)
            known.centers = [(self._frame, center)]
            return True
        free = [k for k in range(count) if k not in self._objects]
        if not free:
            hidden = {k: self._frame - each.visible for k, each in self._objects.items()}
            longest = max(hidden, key=hidden.__getitem__)
            free = [longest] if hidden[longest] > HISTORY else []
        if free:
            self._objects[free[0]] = self._new(inside, pixels, slot)
        return bool(free)

    def _hidden_object(
        self, color: np.ndarray, center: np.ndarray, owner: np.ndarray
    ) -> _Object | None:
        """Return the hidden object that a region of this color and center may be, if any."""
        best, best_cost = None, np.inf
        for k, each in self._objects.items():
            if each.still or (owner == k).mean() >= MIN_AREA:
                continue
            reach = REACH + GROWTH * (self._frame - each.visible)
            far = float(np.linalg.norm(each.center(self._frame) - center))
            unlike = float(np.linalg.norm(each.color[0] - color))
            cost = unlike / SAME_COLOR + far / (2 * REACH)
            if far < reach and unlike < SAME_COLOR and cost < best_cost:
                best, best_cost = each, cost
        return best

    def _ordered(self, slots: np.ndarray, single: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """Return the slots in the order of the objects with which they share most pixels.

        `single` has the slot of each pixel of the frame alone, `owner` its object.
        """
        count = len(slots)
        pairs = np.bincount((owner * count + single).ravel(), minlength=count**2)
        _, order = linear_sum_assignment(-pairs.reshape(count, count))
        return slots[order]

    def _update(self, each: _Object, inside: np.ndarray, pixels: np.ndarray) -> None:
        """Learn color, mask and center of an object from the pixels `inside` that it has."""
        each.visible = self._frame
        area = float(inside.mean())
        if each.still:
            each.mask = inside.astype(np.float32)
            whole, center = area > STILL_AREA / 2, each.centers[-1][1]
        else:
            whole, center = area >= WHOLE * each.area, _center(inside)
        if not whole:
            if not each.still:
                each.area *= SHRINKING[1]
                each.part = inside.astype(np.float32)
            return
        if not each.still:
            each.area = max(SHRINKING[0] * each.area, area)
            each.mask, each.part = inside.astype(np.float32), np.zeros_like(each.mask)
        each.centers = [*each.centers, (self._frame, center)][-VELOCITY_FRAMES:]
        each.color += COLOR_RATE * (_color(pixels, inside, center) - each.color)


def _color(pixels: np.ndarray, inside: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return the color of the pixels `inside` by least squares, `[3, C]`."""
    return fit_color(color_terms(len(inside), center)[:, inside], pixels[:, inside])


def _center(inside: np.ndarray) -> np.ndarray:
    """Return the center (x, y) of the pixels `inside` `[S, S]`, in [-1, 1]."""
    ys, xs = np.nonzero(inside)
    return 2 * np.array([xs.mean(), ys.mean()]) / (len(inside) - 1) - 1
