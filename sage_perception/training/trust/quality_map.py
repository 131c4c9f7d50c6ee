# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fitting of the quality map, and its figures of merit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression, lsq_linear
from scipy.stats import spearmanr

from sage_perception.training.trust.observations import Observations
from sage_perception.trust.quality import NEGLIGIBLE, QualityMap

POINTS = 33
"""Points of the isotonic map."""
BINS = 10
"""Bins of the expected calibration error."""
QUALITY_RANGE = (0.005, 0.995)
"""Range that quality is clipped to before the logit."""


def fit_quality_map(kinds: Sequence[Observations]) -> QualityMap:
    """Fit a quality map with margin 0; each of `kinds` has the same total weight.

    The score is a linear fit of the logit of quality to the logarithms of error and variance, and
    the map is an isotonic regression of quality on the score.
    """
    seen = Observations.concatenate(kinds)
    weight = np.concatenate([np.full(len(kind), 1 / len(kind)) for kind in kinds])
    columns = [np.log(value + NEGLIGIBLE) for value in (seen.error, seen.variance)]
    design = np.stack([*columns, np.ones(len(seen))], 1)
    quality = seen.quality.clip(*QUALITY_RANGE)
    root = np.sqrt(weight)
    solution = lsq_linear(
        design * root[:, None],
        np.log(quality / (1 - quality)) * root,
        bounds=([-np.inf, 0, -np.inf], [0, np.inf, np.inf]),
    ).x
    score = design[:, :2] @ solution[:2]
    order = np.argsort(score, kind='stable')
    steps = isotonic_regression(seen.quality[order], weights=weight[order]).x
    # Means of equal shares of the scores, which smooth the steps of the regression.
    scores, qualities = (
        np.array([part.mean() for part in np.array_split(values, min(POINTS, len(values)))])
        for values in (score[order], steps)
    )
    return QualityMap(
        error=float(solution[0]),
        variance=float(solution[1]),
        scores=tuple(scores.tolist()),
        qualities=tuple(qualities.clip(0, 1).tolist()),
        farthest=float(seen.distance.max()),
        margin=0.0,
    )


def trust_in(quality: QualityMap, seen: Observations) -> np.ndarray:
    """Return the trust `[N]` that the map assigns to observations."""
    return quality.trust(seen.error, seen.variance, seen.distance)


def calibration_error(trust: np.ndarray, quality: np.ndarray) -> float:
    """Return the expected calibration error of trust `[N]` as a prediction of quality `[N]`.

    It is the mean over `BINS` bins of trust of |mean trust − mean quality|, weighted by the number
    of values in a bin (Naeini et al., 2015).
    """
    index = np.minimum((trust * BINS).astype(int), BINS - 1)
    gaps = np.bincount(index, trust - quality, BINS)
    return float(np.abs(gaps).sum() / len(trust))


def figures(quality: QualityMap, seen: Observations) -> dict[str, float]:
    """Return how well trust predicts quality: rank correlation, calibration error, coverage."""
    trust = trust_in(quality, seen)
    return {
        'crops': len(seen),
        'spearman': round(float(spearmanr(trust, seen.quality).statistic), 4),
        'calibration_error': round(calibration_error(trust, seen.quality), 4),
        'within_margin': round(float((seen.quality >= trust - quality.margin).mean()), 4),
        'median_quality': round(float(np.median(seen.quality)), 4),
        'median_trust': round(float(np.median(trust)), 4),
    }
