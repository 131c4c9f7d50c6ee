# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of objects that are hidden for a while keep their latents, and move on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sage_perception.slots.linking import MIN_AREA, VELOCITY_FRAMES, WHOLE

COLOR_TOLERANCE = 0.25
"""Distance of the mean color from that of the whole object from which a slot holds another one."""
HISTORY = 36
"""Frames that are remembered; a slot that is hidden for all of them starts over."""

Prediction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps slots `[B, T, K, D]`, and which of them are hidden, bool `[B, T, K]`, to those of the last
frame, `[B, K, D]`, with the hidden ones predicted."""


def last_seen(slots: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return the slots of the last frame, those hidden as they were seen last; a `Prediction`."""
    newest = _newest(~hidden)
    return np.take_along_axis(slots, newest[:, None, :, None], 1)[:, 0]


def constant_velocity(slots: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return the last seen slots, moved on at constant velocity; a `Prediction`.

    The first two numbers of a slot are its position, as with relative positions. The velocity is
    the mean of the last `VELOCITY_FRAMES` frames in which the slot was seen.
    """
    result = last_seen(slots, hidden).copy()
    frames = slots.shape[1]
    for batch, slot in np.argwhere(hidden[:, -1]):
        seen = np.flatnonzero(~hidden[batch, :, slot])[-VELOCITY_FRAMES:]
        if len(seen) > 1:
            first, last = slots[batch, seen[0], slot, :2], slots[batch, seen[-1], slot, :2]
            step = (last - first) / (seen[-1] - seen[0])
            result[batch, slot, :2] = (last + (frames - 1 - seen[-1]) * step).clip(-1, 1)
    return result


def _newest(seen: np.ndarray) -> np.ndarray:
    """Return the last frame in which each slot `[B, T, K]` was seen, the first one if none."""
    frames = np.arange(seen.shape[1])[:, None]
    return np.where(seen, frames, 0).max(1)


class HiddenSlots:
    """Replaces the slots of hidden objects of videos by predictions, frame by frame.

    A slot is hidden if it has almost no area, or if its pixels have another color than its object
    had while it was whole: slots of hidden objects drift to what hides them. Frames in which an
    object is partly hidden are not used for predictions, because they distort its position.
    """

    def __init__(self, predict: Prediction) -> None:
        self._predict = predict
        self._slots: list[np.ndarray] = []
        self._hidden: list[np.ndarray] = []
        self._areas: list[np.ndarray] = []
        self._colors: np.ndarray | None = None

    def update(self, slots: np.ndarray, masks: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the slots of the next frame, float32 `[B, K, D]`, hidden ones predicted.

        Args:
            slots: float32 `[B, K, D]`.
            masks: their masks, float `[B, K, S, S]`.
            x: the frames, float `[B, C, S, S]` in [0, 1].

        """
        owner = np.eye(masks.shape[1], dtype=bool)[masks.argmax(1)]  # [B, S, S, K]
        areas = owner.mean((1, 2))
        sums = np.einsum('byxk,bcyx->bkc', owner, x) / owner[0, ..., 0].size
        colors = sums / np.maximum(areas, 1e-9)[..., None]
        known = self._colors if self._colors is not None else np.full_like(colors, np.nan)
        differs = np.linalg.norm(colors - known, axis=-1) > COLOR_TOLERANCE  # NaN: False
        hidden = (areas < MIN_AREA) | differs
        forgotten = np.zeros_like(hidden)
        if len(self._hidden) >= HISTORY:
            forgotten = np.all(self._hidden[-HISTORY:], 0) & (areas >= MIN_AREA)
        hidden &= ~forgotten
        self._slots = [*self._slots, slots][-HISTORY:]
        self._hidden = [*self._hidden, hidden][-HISTORY:]
        self._areas = [*self._areas, np.where(hidden, 0, areas)][-HISTORY:]
        recent = np.stack(self._areas, 1)
        whole = (recent >= WHOLE * recent.max(1, keepdims=True)) & (recent > 0)
        update = (whole[:, -1] | forgotten | np.isnan(known[..., 0])) & ~hidden
        self._colors = np.where(update[..., None], colors, known)
        if not hidden.any():
            return slots
        history = np.stack(self._slots, 1)
        unseen = np.stack(self._hidden, 1) | (hidden[:, None] & ~whole)
        predicted = self._predict(history, unseen)
        result = np.where(hidden[..., None], predicted, slots).astype(np.float32)
        self._slots[-1] = result
        return result
