# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One-to-one matching of the crops of two cameras, with the Hungarian method.

It is a file of its own because scipy takes 40 MB: an encoder and a memory compare crops but do not
match them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from sage_perception.trust.fusion.comparison import Comparison
from sage_perception.trust.fusion.matching import Match
from sage_perception.trust.fusion.rivals import posterior


def matches(comparison: Comparison, possible: np.ndarray | None = None) -> list[Match]:
    """Return the one-to-one matching with the largest sum of scores, ordered by row.

    There are min(N, M) matches of a comparison `[N, M]`. `possible`, bool `[N, M]`, excludes
    pairs; the result may then have fewer matches, but always as many as can be formed. The
    `log_ratio` of a match is its `posterior` among all possible pairs; whether the crops agree
    follows from the comparison alone, because the matching has excluded the alternatives.
    """
    score, log_ratio = comparison.score, comparison.log_ratio
    if not score.size:
        return []
    gain = score
    if possible is not None:
        # An excluded pair costs more than all other pairs together can gain.
        span = float(score.max() - score.min()) + 1.0
        gain = np.where(possible, score, score.min() - span * len(score))
    if log_ratio is not None:
        log_ratio = posterior(
            log_ratio if possible is None else np.where(possible, log_ratio, -np.inf)
        )
    return [
        Match(
            int(i),
            int(j),
            float(comparison.similarity[i, j]),
            bool(comparison.margin[i, j] > 0),
            None if log_ratio is None else float(log_ratio[i, j]),
        )
        for i, j in zip(*linear_sum_assignment(gain, maximize=True), strict=True)
        if possible is None or possible[i, j]
    ]
