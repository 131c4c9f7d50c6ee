# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of tracks by a goal, which weight the choice of regions a frame later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sage_perception.vision.regions import Candidate

MAX_AGE_S = 2.0
"""Age above which scores are not used, seconds."""


class TrackScores:
    """The scores of the tracks of one camera; 0.5 changes nothing."""

    def __init__(self) -> None:
        self._scores: dict[int, float] = {}
        self._stamp_s = -math.inf

    def set(self, scores: Mapping[int, float], stamp_s: float) -> None:
        """Replace the scores; those of the frame `stamp_s`, seconds.

        Raises `ValueError` for a score that is not in [0, 1].
        """
        for track, score in scores.items():
            if not 0 <= score <= 1:
                raise ValueError(f'the score of track {track} is {score:g}: it must be in [0, 1]')
        self._scores, self._stamp_s = dict(scores), stamp_s

    def apply(
        self, candidates: Sequence[Candidate], stamp_s: float, weight: float
    ) -> list[Candidate]:
        """Return candidates with their scores multiplied by 1 + weight · (2 · score − 1).

        `weight` is in [0, 1]. A product above 1 is 1.
        """
        if not self._scores or not weight or abs(stamp_s - self._stamp_s) > MAX_AGE_S:
            return list(candidates)
        return [self._weighted(each, weight) for each in candidates]

    def _weighted(self, candidate: Candidate, weight: float) -> Candidate:
        score = self._scores.get(candidate.track_id)
        if score is None:
            return candidate
        return replace(candidate, score=min(candidate.score * (1 + weight * (2 * score - 1)), 1.0))
