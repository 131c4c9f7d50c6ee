# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SNARC: the surprise, novelty, arousal, reward and conflict of an observation.

Each score is in [0, 1] for any input. docs/memory.md defines them in one table.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import astuple, dataclass

import numpy as np

from sage_perception.core.latent import Latent, Roi
from sage_perception.core.lct import LCT
from sage_perception.models.latent_ops import MAX_HISTORY, MIN_HISTORY, extrapolate

WINDOW = 512  # raw values that a scale adapts to
MIN_SAMPLES = 20  # before a scale adapts
LOW_QUANTILE, HIGH_QUANTILE = 0.5, 0.95  # score 0 and 1
MAX_TRACKS = 256  # the track that was updated least recently is dropped
MAX_GAP_NS = 2_000_000_000  # after a longer gap a track restarts
TIME_CONSTANT_S = 1.0  # of the exponential decay of a reward and of a sound


@dataclass(frozen=True)
class Snarc:
    """The salience scores of an observation, each in [0, 1]."""

    surprise: float = 0.0
    novelty: float = 0.0
    arousal: float = 0.0
    reward: float = 0.0
    conflict: float = 0.0

    @property
    def salience(self) -> float:
        """Return the combined salience in [0, 1]: the noisy-or 1 − Π(1 − score)."""
        return 1 - math.prod(1 - part for part in astuple(self))


class AdaptiveScale:
    """Maps a raw measure in [0, ∞) to [0, 1] by the distribution of its recent values.

    Of the last `WINDOW` values the median scores 0 and the 95th percentile 1. Both are bounded:
    the raw value that scores 1 stays in [`min_high`, `max_high`], and the one that scores 0 is at
    most half of it. A static scene therefore does not amplify noise, and a long period of large
    values does not desensitize the scale. Before `MIN_SAMPLES` values, 0 scores 0 and `max_high`
    scores 1.
    """

    def __init__(self, min_high: float, max_high: float) -> None:
        self._min_high, self._max_high = min_high, max_high
        self._recent: deque[float] = deque(maxlen=WINDOW)

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the raw values that score 0 and 1."""
        if len(self._recent) < MIN_SAMPLES:
            return 0.0, self._max_high
        ordered = np.sort(np.fromiter(self._recent, float))
        low, high = (
            float(ordered[int(quantile * len(ordered))])
            for quantile in (LOW_QUANTILE, HIGH_QUANTILE)
        )
        high = min(max(high, self._min_high), self._max_high)
        return min(low, high / 2), high

    def score(self, raw: float) -> float:
        """Return the score of a raw value and add it to the window.

        A value that is not finite scores 0 and is not added.
        """
        if not math.isfinite(raw):
            return 0.0
        low, high = self.bounds
        self._recent.append(max(raw, 0.0))
        return min(max((raw - low) / (high - low), 0.0), 1.0)


class LatentTrack:
    """The recent latents of one track of one camera, and its last region."""

    def __init__(self) -> None:
        self._latents: deque[np.ndarray] = deque(maxlen=MAX_HISTORY)
        self._stamps: deque[int] = deque(maxlen=MAX_HISTORY)
        self._roi: Roi | None = None

    def update(self, latent: Latent, stamp_ns: int, mean: np.ndarray) -> tuple[float, float]:
        """Append a latent; return its prediction error and its motion per second.

        See `prediction_error` and `motion`. Both are NaN for the first latent of a track, and the
        motion also without a region.
        """
        if self._stamps and not 0 < stamp_ns - self._stamps[-1] <= MAX_GAP_NS:
            self._latents.clear()
            self._stamps.clear()
            self._roi = None
        error = speed = math.nan
        if self._stamps:
            error = prediction_error(latent.mean, self._predict(stamp_ns), mean)
            speed = motion(self._roi, latent.roi, (stamp_ns - self._stamps[-1]) * 1e-9)
        self._latents.append(latent.mean)
        self._stamps.append(stamp_ns)
        self._roi = latent.roi
        return error, speed

    def _predict(self, stamp_ns: int) -> np.ndarray:
        if len(self._latents) < MIN_HISTORY:
            return self._latents[-1]
        # Relative to now: float64 seconds since 1970 would lose precision in differences.
        stamps = (np.array(self._stamps) - stamp_ns) * 1e-9
        return extrapolate(np.stack(self._latents), stamps, 0.0)


def prediction_error(z: np.ndarray, predicted: np.ndarray, mean: np.ndarray) -> float:
    """Return ‖z − ẑ‖ / (‖z − m‖ + ‖ẑ − m‖) in [0, 1]; m is the mean of the model's latents."""
    centered = np.asarray(z, np.float64) - mean
    centered_prediction = np.asarray(predicted, np.float64) - mean
    size = float(np.linalg.norm(centered) + np.linalg.norm(centered_prediction))
    return float(np.linalg.norm(centered - centered_prediction)) / size if size > 0 else 0.0


def motion(before: Roi | None, now: Roi | None, seconds: float) -> float:
    """Return √(speed² + growth²) of a region, in its own sizes per second.

    The growth accounts for motion along the optical axis. The result is NaN if a region is missing
    or empty, or `seconds` is not positive.
    """
    if before is None or now is None or not before.area or not now.area or seconds <= 0:
        return math.nan
    (x0, y0), (x1, y1) = before.center, now.center
    distance = math.hypot(x1 - x0, y1 - y0) / math.sqrt(math.sqrt(before.area * now.area))
    growth = 0.5 * math.log(now.area / before.area)
    return math.hypot(distance, growth) / seconds


class Decaying:
    """A value in [0, 1] that decays with `TIME_CONSTANT_S`; 0 at first."""

    def __init__(self) -> None:
        self._value, self._stamp_ns = 0.0, 0

    def set(self, value: float, stamp_ns: int) -> None:
        """Set the value at a time, at most 1; one that is not finite or negative counts as 0.

        A value below the decayed rest of the previous one is ignored.
        """
        value = min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
        if value >= self.at(stamp_ns):
            self._value, self._stamp_ns = value, stamp_ns

    def at(self, stamp_ns: int) -> float:
        """Return the decayed value; up to 1 s before its stamp it has its full size."""
        since_s = (stamp_ns - self._stamp_ns) * 1e-9
        # An earlier stamp means that the clock went back, as at the start of a replayed bag.
        if since_s <= -TIME_CONSTANT_S:
            return 0.0
        return self._value * math.exp(-max(since_s, 0.0) / TIME_CONSTANT_S)


class Scorer:
    """Scores the observations of one latent space; `mean` `[D]` is the mean of its latents."""

    def __init__(self, mean: np.ndarray) -> None:
        self._mean = np.asarray(mean, np.float32)
        self._tracks: OrderedDict[tuple[str, int], LatentTrack] = OrderedDict()
        self._surprise = AdaptiveScale(0.1, 0.8)
        self._novelty = AdaptiveScale(0.2, 1.0)
        self._arousal = AdaptiveScale(0.5, 5.0)
        self._conflict = AdaptiveScale(0.3, 1.0)
        self._reward, self._sound = Decaying(), Decaying()

    def reward(self, value: float, stamp_ns: int) -> None:
        """Set the reward of the task at a time.

        Only the magnitude counts, because failure is as memorable as success.
        """
        self._reward.set(abs(value), stamp_ns)

    def sound(self, arousal: float, stamp_ns: int) -> None:
        """Set the arousal of a sound at a time: what is seen then has at least that arousal."""
        self._sound.set(arousal, stamp_ns)

    def score(self, lct: LCT, novelty: float, agreement: float | None = None) -> Snarc:
        """Return the scores of one observation.

        `novelty` is 1 − the cosine to the nearest record in memory. `agreement` is the cosine to
        the matching latent of another camera, None without a match. A latent with values that are
        not finite, or of another dimension, scores 0 and does not change the state.
        """
        latent = lct.latent
        if latent.dim != self._mean.size or not np.isfinite(latent.mean).all():
            return Snarc()
        error = speed = math.nan
        if latent.track_id:
            key = (lct.provenance[0].entity_id if lct.provenance else '', latent.track_id)
            track = self._tracks.setdefault(key, LatentTrack())
            self._tracks.move_to_end(key)
            if len(self._tracks) > MAX_TRACKS:
                self._tracks.popitem(last=False)
            error, speed = track.update(latent, lct.stamp_ns, self._mean)
        return Snarc(
            surprise=self._surprise.score(error),
            novelty=self._novelty.score(novelty),
            arousal=max(self._arousal.score(speed), self._sound.at(lct.stamp_ns)),
            reward=self._reward.at(lct.stamp_ns),
            conflict=self._score_conflict(agreement),
        )

    def _score_conflict(self, agreement: float | None) -> float:
        if agreement is None:
            return 0.0
        # A similarity that cannot be measured must not pass as agreement.
        return self._conflict.score(1 - agreement) if math.isfinite(agreement) else 1.0
