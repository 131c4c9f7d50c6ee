# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The recent observations of cameras and their tracks."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.core.lct import LCT
from sage_perception.memory.snarc import Snarc

SLOPE_S = 0.5
"""Time over which velocities are fitted, seconds."""
MAX_SLOPE = 4.0
"""Limit of velocities and growth; larger ones are jumps of the tracker that would dominate."""


@dataclass(eq=False)
class Track:
    """The observations of one track in the window, oldest first.

    `places` are center x, y in half frames from the center of the frame, and width, height in
    frames. `ranks` are the positions of its crop among the crops of the frame.
    """

    newest: LCT
    first_s: float
    stamps: list[float] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    snarc: Snarc | None = None
    scored_s: float = 0.0

    def add(self, stamp_s: float, place: np.ndarray, rank: int, lct: LCT) -> None:
        """Add an observation, unless the frame at `stamp_s` already has one."""
        if self.stamps and self.stamps[-1] == stamp_s:
            return
        self.stamps.append(stamp_s)
        self.places.append(place)
        self.ranks.append(rank)
        self.newest = lct

    def drop_before(self, stamp_s: float) -> None:
        """Remove older observations."""
        count = bisect_left(self.stamps, stamp_s)
        del self.stamps[:count], self.places[:count], self.ranks[:count]

    @property
    def place(self) -> np.ndarray:
        """Return the newest place."""
        return self.places[-1]

    def salience(self, frames: int) -> float:
        """Return the mean of 1 / (1 + rank) over `frames`, 0 for frames without this track.

        The result is in (0, 1] and changes little from frame to frame.
        """
        return min(sum(1 / (1 + rank) for rank in self.ranks) / frames, 1.0)

    def slopes(self) -> dict[str, float]:
        """Return velocity and growth by least squares over the last `SLOPE_S`.

        Velocities are in half frames per second; `growth` is that of the logarithm of the width,
        1/s. Returns an empty dictionary while they are unknown.
        """
        stamps, places = np.array(self.stamps), np.array(self.places)
        recent = stamps >= stamps[-1] - SLOPE_S
        t = stamps[recent] - stamps[recent].mean()
        spread = float(t @ t)
        if spread <= 1e-6:
            return {}
        x, y, width, _ = places[recent].T
        slopes = {
            'velocity_x': t @ x / spread,
            'velocity_y': t @ y / spread,
            'growth': t @ np.log(np.maximum(width, 1e-6)) / spread,
        }
        return {name: float(np.clip(s, -MAX_SLOPE, MAX_SLOPE)) for name, s in slopes.items()}

    def displacements(self, times_s: Sequence[float]) -> dict[str, float]:
        """Return past places relative to the newest: `past_x_0`, `past_y_0`, ...

        `times_s` are seconds before the newest observation; times before the first observation
        are left out.
        """
        stamps, places = np.array(self.stamps), np.array(self.places)
        found = {}
        for i, ago in enumerate(times_s):
            then = stamps[-1] - ago
            if stamps[0] <= then:
                for axis, name in enumerate('xy'):
                    past = np.interp(then, stamps, places[:, axis])
                    found[f'past_{name}_{i}'] = float(past - places[-1][axis])
        return found


@dataclass(eq=False)
class CameraView:
    """The frames and tracks of one camera in the window."""

    frames: deque[float] = field(default_factory=deque)  # stamps, seconds
    size: tuple[int, int] = (1, 1)
    first_s: float = 0.0
    tracks: dict[int, Track] = field(default_factory=dict)

    def add(self, stamp_s: float, size: tuple[int, int], lcts: Sequence[LCT]) -> None:
        """Add a frame of `size` pixels with its LCTs, best first."""
        if not self.frames:
            self.first_s = stamp_s
        self.frames.append(stamp_s)
        self.size = size
        for rank, lct in enumerate(lcts):
            # Each LCT without a track id counts as a separate track.
            key = lct.latent.track_id or -int.from_bytes(lct.id[:6], 'little') - 1
            track = self.tracks.setdefault(key, Track(lct, stamp_s))
            track.add(stamp_s, place_in_frame(lct.latent.roi, size), rank, lct)

    def drop_before(self, stamp_s: float) -> None:
        """Remove older frames, and tracks without observations in the others."""
        while self.frames and self.frames[0] < stamp_s:
            self.frames.popleft()
        for track in self.tracks.values():
            track.drop_before(stamp_s)
        self.tracks = {key: track for key, track in self.tracks.items() if track.stamps}


@dataclass(frozen=True, eq=False)
class RankedTrack:
    """A track in view with its salience, camera, and camera slot."""

    salience: float
    camera: str
    slot: int
    key: int
    view: CameraView
    track: Track


def place_in_frame(roi: Roi | None, size: tuple[int, int]) -> np.ndarray:
    """Return center x, y in half frames from the center, and width, height in frames; float64 [4].

    Without a region the place is the whole frame.
    """
    width, height = size
    if roi is None:
        return np.array([0.0, 0.0, 1.0, 1.0])
    x, y = roi.center
    place = [2 * x / width - 1, 2 * y / height - 1, roi.width / width, roi.height / height]
    return np.clip(place, -1.0, 1.0)
