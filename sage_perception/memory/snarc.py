# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SNARC: how surprising, novel, arousing, rewarding and contested an observation is.

Each score is in [0, 1], whatever comes in; docs/memory.md has the definitions in one table.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import astuple, dataclass

import numpy as np

from sage_perception.core.latent import Latent, Roi
from sage_perception.core.lct import LCT
from sage_perception.models.latent_ops import MAX_HISTORY, MIN_HISTORY, extrapolate

WINDOW = 512  # raw values that a scale goes by
ENOUGH = 20  # of them, before it goes by any
USUAL, RARE = 0.5, 0.95  # quantiles that score 0 and 1
TRACKS = 256  # that are followed at once
GAP_NS = 2_000_000_000  # a track that was lost for longer begins anew
REWARD_S = 1.0  # time constant at which a reward fades


@dataclass(frozen=True)
class Snarc:
    """Salience of an observation, each part in [0, 1]."""

    surprise: float = 0.0
    novelty: float = 0.0
    arousal: float = 0.0
    reward: float = 0.0
    conflict: float = 0.0

    @property
    def salience(self) -> float:
        """Return how salient it is for any of these reasons, in [0, 1]: the noisy or of them."""
        return 1 - math.prod(1 - part for part in astuple(self))


class Scale:
    """Maps a raw measure, 0 or more, to [0, 1] by what is usual lately.

    Of the last `WINDOW` values half score 0, and one in twenty 1. Both marks are bounded: 1 is
    never less than the raw value `least` nor more than `most`, and 0 no more than half of it. So
    neither is noise in a still world magnified without end, nor does a long uproar make the scale
    deaf. Until `ENOUGH` values came, 1 is `most` and 0 is 0.
    """

    def __init__(self, least: float, most: float):
        self._least, self._most = least, most
        self._recent: deque[float] = deque(maxlen=WINDOW)

    @property
    def marks(self) -> tuple[float, float]:
        """Return the raw values that score 0 and 1."""
        if len(self._recent) < ENOUGH:
            return 0.0, self._most
        ordered = np.sort(np.fromiter(self._recent, float))
        low, high = (float(ordered[int(part * len(ordered))]) for part in (USUAL, RARE))
        high = min(max(high, self._least), self._most)
        return min(low, high / 2), high

    def score(self, raw: float) -> float:
        """Return the score of a raw value, and take note of it; 0 for one that is not finite."""
        if not math.isfinite(raw):
            return 0.0
        low, high = self.marks
        self._recent.append(max(raw, 0.0))
        return min(max((raw - low) / (high - low), 0.0), 1.0)


class Track:
    """The last latents of one thing in one camera, and where it was."""

    def __init__(self):
        self._latents: deque[np.ndarray] = deque(maxlen=MAX_HISTORY)
        self._stamps: deque[int] = deque(maxlen=MAX_HISTORY)
        self._roi: Roi | None = None

    def follow(self, latent: Latent, stamp_ns: int, mean: np.ndarray) -> tuple[float, float]:
        """Add a look; return how far off its prediction was, and how much it moved, per second.

        Either is NaN where it cannot be told, which a first look never can.
        """
        if self._stamps and not 0 < stamp_ns - self._stamps[-1] <= GAP_NS:
            self._latents.clear()
            self._stamps.clear()
            self._roi = None
        error = motion = math.nan
        if self._stamps:
            error = prediction_error(latent.mean, self._predict(stamp_ns), mean)
            motion = motion_of(self._roi, latent.roi, (stamp_ns - self._stamps[-1]) * 1e-9)
        self._latents.append(latent.mean)
        self._stamps.append(stamp_ns)
        self._roi = latent.roi
        return error, motion

    def _predict(self, stamp_ns: int) -> np.ndarray:
        if len(self._latents) < MIN_HISTORY:
            return self._latents[-1]
        # Seconds from now: those since 1970 would leave few digits to their differences.
        stamps = (np.array(self._stamps) - stamp_ns) * 1e-9
        return extrapolate(np.stack(self._latents), stamps, 0.0)


def prediction_error(z: np.ndarray, predicted: np.ndarray, mean: np.ndarray) -> float:
    """Return ‖z − ẑ‖ / (‖z − m‖ + ‖ẑ − m‖), in [0, 1]; `m` is the mean of the model's latents."""
    z, predicted = (np.asarray(each, np.float64) - mean for each in (z, predicted))
    size = float(np.linalg.norm(z) + np.linalg.norm(predicted))
    return float(np.linalg.norm(z - predicted)) / size if size > 0 else 0.0


def motion_of(before: Roi | None, now: Roi | None, seconds: float) -> float:
    """Return how fast a region moves and grows, in its own sizes per second; NaN without one.

    The square root of speed² + growth², as for a motion towards the camera as for one across.
    """
    if before is None or now is None or not before.area or not now.area or seconds <= 0:
        return math.nan
    (x0, y0), (x1, y1) = before.center, now.center
    across = math.hypot(x1 - x0, y1 - y0) / math.sqrt(math.sqrt(before.area * now.area))
    growth = 0.5 * math.log(now.area / before.area)
    return math.hypot(across, growth) / seconds


class Scorer:
    """Scores the observations of one latent space, whose latents have the mean `mean` `[D]`."""

    def __init__(self, mean: np.ndarray):
        self._mean = np.asarray(mean, np.float32)
        self._tracks: OrderedDict[tuple[str, int], Track] = OrderedDict()
        self._surprise = Scale(0.1, 0.8)
        self._novelty = Scale(0.2, 1.0)
        self._arousal = Scale(0.5, 5.0)
        self._conflict = Scale(0.3, 1.0)
        self._reward, self._rewarded_ns = 0.0, 0

    def reward(self, value: float, stamp_ns: int) -> None:
        """Take the task's signal: by its magnitude, at most 1; what is not finite is 0.

        Failure is as memorable as success, so its sign does not count. A lesser one does not cut
        short what is left of a greater.
        """
        value = min(abs(value), 1.0) if math.isfinite(value) else 0.0
        if value >= self._reward_at(stamp_ns):
            self._reward, self._rewarded_ns = value, stamp_ns

    def score(self, lct: LCT, novelty: float, agreement: float | None = None) -> Snarc:
        """Return the scores of one observation.

        `novelty` is 1 − the cosine to the nearest in memory, `agreement` the cosine to what
        another camera saw in its place, None without one. A latent that is not finite scores 0
        throughout, and leaves no trace.
        """
        latent = lct.latent
        if latent.dim != self._mean.size or not np.isfinite(latent.mean).all():
            return Snarc()
        error = motion = math.nan
        if latent.track_id:
            key = (lct.provenance[0].entity_id if lct.provenance else '', latent.track_id)
            track = self._tracks.setdefault(key, Track())
            self._tracks.move_to_end(key)
            if len(self._tracks) > TRACKS:
                self._tracks.popitem(last=False)
            error, motion = track.follow(latent, lct.stamp_ns, self._mean)
        return Snarc(
            surprise=self._surprise.score(error),
            novelty=self._novelty.score(novelty),
            arousal=self._arousal.score(motion),
            reward=self._reward_at(lct.stamp_ns),
            conflict=self._contest(agreement),
        )

    def _contest(self, agreement: float | None) -> float:
        if agreement is None:
            return 0.0
        # That cameras agree must be known: what could not be measured is no agreement.
        return self._conflict.score(1 - agreement) if math.isfinite(agreement) else 1.0

    def _reward_at(self, stamp_ns: int) -> float:
        """Return what is left of the last reward; what came just before it has all of it."""
        since = (stamp_ns - self._rewarded_ns) * 1e-9
        # Further back is no lead-up: the clock went back, as that of a recording does.
        return self._reward * math.exp(-max(since, 0.0) / REWARD_S) if since > -REWARD_S else 0.0
