# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a similarity that separates same pairs from different pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


def auroc(same: np.ndarray, other: np.ndarray) -> float:
    """Return the area under the ROC curve of the similarities of `same` and of `other` pairs.

    Both are 1-D and not empty. It is the probability that a same pair has a higher similarity than
    another one, where equal similarities count half (Hanley and McNeil, 1982). Raises `ValueError`
    if there are no pairs.
    """
    _require(same, other)
    ordered = np.sort(other)
    below = np.searchsorted(ordered, same, 'left')
    not_above = np.searchsorted(ordered, same, 'right')
    return float((below + not_above).mean() / (2 * len(ordered)))


def threshold_at(other: np.ndarray, false_positive_rate: float) -> float:
    """Return the smallest threshold that at most this share of `other` similarities exceeds.

    `other` is 1-D and not empty, the rate in [0, 1). Raises `ValueError` otherwise.
    """
    _require(other)
    if not 0 <= false_positive_rate < 1:
        raise ValueError(f'false_positive_rate is {false_positive_rate}; it must be in [0, 1)')
    ordered = np.sort(other)[::-1]
    return float(ordered[int(false_positive_rate * len(ordered))])


def interpolated_threshold(thresholds: Mapping[float, float], false_positive_rate: float) -> float:
    """Return the threshold of a rate, from `thresholds` by rate.

    Interpolates linearly in the logarithm of the rate between the given rates, and clips to them.
    """
    rates = sorted(thresholds)
    values = [thresholds[rate] for rate in rates]
    return float(np.interp(math.log(false_positive_rate), np.log(rates), values))


def tpr_at_fpr(same: np.ndarray, other: np.ndarray, false_positive_rate: float) -> float:
    """Return the share of `same` pairs above the threshold that `threshold_at` returns.

    Raises `ValueError` as `auroc` and `threshold_at` do.
    """
    _require(same)
    return float((same > threshold_at(other, false_positive_rate)).mean())


def _require(*similarities: np.ndarray) -> None:
    if any(values.ndim != 1 or not len(values) for values in similarities):
        shapes = ', '.join(str(list(values.shape)) for values in similarities)
        raise ValueError(f'similarities must be [N] with N at least 1, not {shapes}')
