# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of the images of a camera as latents with regions, tracks and trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, Roi, Telemetry
from sage_perception.core.track_ids import track_ids
from sage_perception.models.slot_encoder import DecodedSlots, SlotEncoder, Slots
from sage_perception.slots.segmentation import MIN_AREA, SlotRegion, segment, slot_regions
from sage_perception.slots.video import scaled_input

MAX_STEP_S = 1.0
"""Time between frames after which slots start over, seconds."""
MAX_MISSING_S = 1.0
"""Time without a region after which the slot holds another track, seconds."""


class SlotObservation(NamedTuple):
    """The slots of an image.

    Attributes:
        latents: one of kind SLOT for each region, largest area first; its region is in pixels of
            the image, and its telemetry has the trust.
        labels: uint8 `[S, S]`, the number of the region of each pixel of the model's image,
            from 1; 0 belongs to a slot without a region.
    """

    latents: list[Latent]
    labels: np.ndarray


@dataclass
class _Track:
    """The track that a slot holds: its id, its last region, and the time of it."""

    track_id: int
    roi: Roi
    stamp_s: float


class SlotStream:
    """Divides the successive images of one camera; slot k stays with its object.

    The whole image is scaled to the square of the model, so that nothing in view is left out.
    """

    def __init__(
        self, model: SlotEncoder, min_area: float = MIN_AREA, first_track_id: int = 1
    ) -> None:
        """Prepare for `model`; a slot with less than `min_area` of the image has no region.

        The tracks are numbered from `first_track_id`.
        """
        self._model, self._min_area = model, min_area
        self._ids = track_ids(first_track_id)
        self.reset()

    def reset(self) -> None:
        """Forget the images before; track ids are not reused."""
        self._previous: Slots | None = None
        self._tracks: dict[int, _Track] = {}
        self._stamp_s, self._shape = -np.inf, (0, 0)

    def update(self, image: np.ndarray, stamp_s: float) -> SlotObservation:
        """Return the slots of an image, uint8 BGR `[H, W, 3]`, captured at `stamp_s`, seconds.

        Slots start from those of the image before, unless the size changed, or the time jumped
        back or by more than `MAX_STEP_S`.
        """
        shape = image.shape[0], image.shape[1]
        if shape != self._shape or not 0 < stamp_s - self._stamp_s <= MAX_STEP_S:
            self.reset()
        self._stamp_s, self._shape = stamp_s, shape
        x = scaled_input(image, self._model.input_size, self._model.input_channels)[None]
        previous = self._previous
        slots = self._model.encode(x) if previous is None else self._model.track(x, previous.slots)
        self._previous = slots
        decoded = self._model.decode(slots, x)
        masks = decoded.masks[0]
        segments = segment(masks)
        regions = slot_regions(masks, segments, self._min_area)
        mean_color = x[0].mean(axis=(1, 2))[:, None]
        numbers = np.zeros(len(masks), np.uint8)
        latents = []
        for number, region in enumerate(regions, start=1):
            numbers[region.slot] = number
            telemetry = _telemetry(x[0], mean_color, decoded, segments == region.slot, region)
            roi = self._to_image(region.roi)
            latents.append(
                Latent(
                    np.asarray(slots.slots[0, region.slot], np.float32),
                    kind=LatentKind.SLOT,
                    model=self._model.id,
                    roi=roi,
                    track_id=self._track_of(region.slot, roi),
                    telemetry=telemetry,
                )
            )
        return SlotObservation(latents, numbers[segments])

    def _to_image(self, roi: Roi) -> Roi:
        """Return a region of the model's image in pixels of the camera's image."""
        (height, width), side = self._shape, self._model.input_size
        left, top = roi.x * width // side, roi.y * height // side
        right = -(-(roi.x + roi.width) * width // side)
        bottom = -(-(roi.y + roi.height) * height // side)
        return Roi(left, top, max(right - left, 1), max(bottom - top, 1))

    def _track_of(self, slot: int, roi: Roi) -> int:
        """Return the track of a slot, a new one if the slot moved on to another object."""
        track = self._tracks.get(slot)
        known = (
            track is not None
            and self._stamp_s - track.stamp_s <= MAX_MISSING_S
            and _is_near(track.roi, roi)
        )
        track_id = track.track_id if track is not None and known else next(self._ids)
        self._tracks[slot] = _Track(track_id, roi, self._stamp_s)
        return track_id


def _is_near(before: Roi, now: Roi) -> bool:
    """Return whether the center moved by at most the side of the larger region."""
    reach = max(before.width, before.height, now.width, now.height)
    (x0, y0), (x1, y1) = before.center, now.center
    return max(abs(x1 - x0), abs(y1 - y0)) <= reach


def _telemetry(
    x: np.ndarray,
    mean_color: np.ndarray,
    decoded: DecodedSlots,
    inside: np.ndarray,
    region: SlotRegion,
) -> Telemetry:
    """Return the telemetry of a slot; `inside` `[S, S]` marks the pixels of its segment.

    The trust is the share of the variance of these pixels about `mean_color`, that of the image
    `[C, 1]`, that the slot explains, times the mean mask.
    """
    target = x[:, inside]
    error = float(np.square(decoded.images[0, region.slot][:, inside] - target).mean())
    spread = float(np.square(target - mean_color).mean())
    explained = 1 - error / max(spread, 1e-4)
    trust = float(np.clip(explained, 0, 1)) * region.confidence
    return Telemetry(trust=min(trust, 1.0), reconstruction_error=error)
