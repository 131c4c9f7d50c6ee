# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of the tracks whose codes are computed in a frame.

A track gets its codes when it has been seen for a moment, because many tracks last a few frames,
and again when its latent has changed enough or a period has passed. A number that was not seen for
a while is that of a new track.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent
from sage_perception.core.track_codes import is_lost

MAX_TRACKS = 1024
MIN_SALIENCE = 0.01


@dataclass(frozen=True)
class CodePolicy:
    """When codes are computed, and with which budget.

    Attributes
    ----------
    period_s : float
        Time after which the codes of a track are computed again, seconds.
    min_change : float
        Distance of the latent to the one of the last codes, relative to its distance to the mean
        latent, from which they are computed again before the period has passed.
    min_interval_s : float
        Least time between two codes of a track, seconds, however much it changes.
    budget_ms : float
        Time for codes per frame, milliseconds. What a frame leaves over is kept while tracks wait.
    min_age_s : float
        Time for which a track must have been seen before its first codes, seconds.

    """

    period_s: float = 5.0
    min_change: float = 1.1
    min_interval_s: float = 1.0
    budget_ms: float = 5.0
    min_age_s: float = 0.15


class Due(NamedTuple):
    """A crop whose codes are due: its index in the frame, and its need, the largest first."""

    item: int
    need: float


@dataclass
class _Track:
    values: np.ndarray
    stamp_ns: int


@dataclass
class _Life:
    born_ns: int
    seen_ns: int


class CodeSchedule:
    """Finds the tracks of one camera whose codes are due; `mean` `[D]` is the mean latent."""

    def __init__(self, mean: np.ndarray, policy: CodePolicy) -> None:
        self._mean, self._policy = mean, policy
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._lives: OrderedDict[int, _Life] = OrderedDict()

    def due(
        self, latents: Sequence[Latent], saliences: Sequence[float], stamp_ns: int
    ) -> list[Due]:
        """Return the latents of a frame whose codes are due, the most needed first.

        Latents without a track have no codes, because nothing could keep them.
        """
        found = []
        for index, (latent, salience) in enumerate(zip(latents, saliences, strict=True)):
            urgency = self._urgency(latent, stamp_ns) if latent.track_id else 0.0
            if urgency >= 1:
                found.append(Due(index, urgency * max(salience, MIN_SALIENCE)))
        return sorted(found, key=lambda each: -each.need)

    def note(self, latent: Latent, stamp_ns: int) -> None:
        """Note that the codes of a latent were computed."""
        self._tracks.pop(latent.track_id, None)
        self._tracks[latent.track_id] = _Track(latent.mean, stamp_ns)
        if len(self._tracks) > MAX_TRACKS:
            self._tracks.popitem(last=False)

    def forget(self, track_id: int) -> None:
        """Make the codes of a track due, because they were not sent."""
        self._tracks.pop(track_id, None)

    def _urgency(self, latent: Latent, stamp_ns: int) -> float:
        """Return how much the codes of a track are due: from 1, and 4 for a new track."""
        policy, seen_s = self._policy, self._seen_s(latent.track_id, stamp_ns)
        track = self._tracks.get(latent.track_id)
        if track is None or stamp_ns < track.stamp_ns:
            return 4.0 if seen_s >= policy.min_age_s else 0.0
        age_s = (stamp_ns - track.stamp_ns) * 1e-9
        if age_s < policy.min_interval_s:
            return 0.0
        size = max(float(np.linalg.norm(latent.mean - self._mean)), 1e-6)
        change = min(float(np.linalg.norm(latent.mean - track.values)) / size, 2.0)
        return max(age_s / policy.period_s, change / policy.min_change)

    def _seen_s(self, track_id: int, stamp_ns: int) -> float:
        """Return for how long a track has been seen, seconds; notes that it is seen now."""
        life = self._lives.pop(track_id, None)
        if life is None or is_lost(life.seen_ns, stamp_ns):
            life = _Life(stamp_ns, stamp_ns)
            self._tracks.pop(track_id, None)
        life.born_ns, life.seen_ns = min(life.born_ns, stamp_ns), stamp_ns
        self._lives[track_id] = life
        while len(self._lives) > MAX_TRACKS:
            self._lives.popitem(last=False)
        return (stamp_ns - life.born_ns) * 1e-9
