# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of the latents of a frame that are sent.

A latent that hardly differs from the last one that was sent of its track is left out: receivers
still hold that one. The others are sent in the order of their salience times their change, as long
as the byte rate permits. Each is complete, so that a lost message costs only its own latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Latent, Roi

ARRAY_BYTES, CROP_BYTES = 190, 32
"""Approximate size of an array without crops, and of a crop without its payload."""
BURST_S = 1.0
"""Time over which the byte rate is averaged, seconds."""
REPEAT_S = 1.0
"""Time after which an unchanged track is sent again, for receivers that missed it, seconds."""
MIN_IOU = 0.8
"""Least overlap with the last region that was sent; a region that moved further is sent."""
MIN_SALIENCE = 1e-3
MAX_TRACKS = 1024


@dataclass(frozen=True)
class SendingPolicy:
    """The latents that an encoder sends.

    Attributes
    ----------
    min_change : float
        Least distance of a latent to the last one that was sent of its track, relative to its
        distance to the mean of the model. 0: all latents are sent.
    max_bytes_per_s : int
        Bytes of messages per second, averaged over `BURST_S`; 0: no limit.

    """

    min_change: float = 0.0
    max_bytes_per_s: int = 0

    @property
    def sends_everything(self) -> bool:
        """Whether all latents of each frame are sent."""
        return not self.min_change and not self.max_bytes_per_s


@dataclass
class _Track:
    """The last latent `[D]` that was sent of a track, its region and its stamp."""

    values: np.ndarray
    roi: Roi | None
    sent_ns: int


class LatentSender:
    """Selects the latents of one camera to send.

    `mean` `[D]` is that of the latents of the model. `unchanged` and `limited` count the latents
    that were not sent because they did not change, and because of the byte rate.
    """

    def __init__(self, mean: np.ndarray, policy: SendingPolicy) -> None:
        self.unchanged = self.limited = 0
        self._mean, self._policy = mean, policy
        self._tracks: dict[int, _Track] = {}
        self._tokens = policy.max_bytes_per_s * BURST_S
        self._last_ns: int | None = None

    def select(
        self,
        latents: Sequence[Latent],
        sizes: Sequence[int],
        saliences: Sequence[float],
        stamp_ns: int,
    ) -> list[int]:
        """Return the indices of the latents of a frame to send, ascending.

        `sizes` are the bytes of the latents as they are transmitted, `saliences` those of their
        crops, and `stamp_ns` is the stamp of the frame, nanoseconds.
        """
        if self._policy.sends_everything:
            return list(range(len(latents)))
        wanted: list[tuple[float, int]] = []
        for index, latent in enumerate(latents):
            change = self._change(latent, stamp_ns)
            if change < self._policy.min_change:
                self.unchanged += 1
            else:
                wanted.append((max(saliences[index], MIN_SALIENCE) * change, index))
        chosen = self._affordable(wanted, sizes, stamp_ns)
        for index in chosen:
            self._note(latents[index], stamp_ns)
        return chosen

    def _change(self, latent: Latent, stamp_ns: int) -> float:
        """Return the change of a latent, at most 1; 1 if its track must be sent."""
        track = self._tracks.get(latent.track_id)
        if latent.codes or track is None or not 0 <= stamp_ns - track.sent_ns < REPEAT_S * 1e9:
            return 1.0
        if latent.roi and track.roi and latent.roi.iou(track.roi) < MIN_IOU:
            return 1.0
        size = float(np.linalg.norm(latent.mean - self._mean))
        return min(float(np.linalg.norm(latent.mean - track.values)) / max(size, 1e-6), 1.0)

    def _affordable(
        self, wanted: list[tuple[float, int]], sizes: Sequence[int], stamp_ns: int
    ) -> list[int]:
        """Return the indices of the best latents that the byte rate permits, ascending."""
        rate = self._policy.max_bytes_per_s
        if not rate:
            return sorted(index for _, index in wanted)
        if self._last_ns is not None:
            elapsed_s = max(stamp_ns - self._last_ns, 0) * 1e-9
            self._tokens = min(self._tokens + rate * elapsed_s, rate * BURST_S)
        self._last_ns = stamp_ns
        left, chosen = self._tokens - ARRAY_BYTES, []
        for _, index in sorted(wanted, key=lambda each: -each[0]):
            cost = CROP_BYTES + sizes[index]
            if cost > left:
                self.limited += 1
                continue
            left -= cost
            chosen.append(index)
        if chosen:
            self._tokens = left
        return sorted(chosen)

    def _note(self, latent: Latent, stamp_ns: int) -> None:
        if not latent.track_id:
            return
        self._tracks.pop(latent.track_id, None)
        self._tracks[latent.track_id] = _Track(latent.mean, latent.roi, stamp_ns)
        if len(self._tracks) > MAX_TRACKS:
            del self._tracks[next(iter(self._tracks))]
