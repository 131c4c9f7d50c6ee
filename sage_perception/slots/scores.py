# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of segmentations into objects without classes: FG-ARI, ARI and mBO."""

from __future__ import annotations

import numpy as np


def adjusted_rand_index(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the adjusted Rand index of two labelings of the same pixels.

    (Hubert and Arabie, Comparing partitions, 1985.)

    Labels are non-negative integers of any shape. 1: the same partition; 0: no more alike than by
    chance. Two labelings that each have a single segment are the same.
    """
    table = contingency(truth, predicted).astype(np.float64)
    total = table.sum()
    pairs = (table * (table - 1)).sum() / 2
    rows, columns = ((side * (side - 1)).sum() / 2 for side in (table.sum(0), table.sum(1)))
    expected = rows * columns / max(total * (total - 1) / 2, 1)
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((pairs - expected) / (most - expected))


def foreground_ari(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return the adjusted Rand index over the pixels of objects, or None if there are none.

    In `truth`, 0 is the background. For a video with the same labels in all frames, pass all
    frames together: `[T, S, S]`.
    """
    objects = truth > 0
    if not objects.any():
        return None
    return adjusted_rand_index(truth[objects], predicted[objects])


def mean_best_overlap(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return the mean over objects of the largest IoU with a segment, or None without objects.

    (Pont-Tuset et al., 2017.) The background, label 0 in `truth`, does not count as an object.
    """
    if not truth.any():
        return None
    table = contingency(truth, predicted).astype(np.float64)
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    best = (table / np.maximum(union, 1)).max(1)
    present = np.flatnonzero(table.sum(1) > 0)
    return float(best[present[present > 0]].mean())


def contingency(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the number of pixels of each pair of labels, int64 `[labels, segments]`.

    Raises `ValueError` for different shapes and for negative labels.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f'labelings of shapes {truth.shape} and {predicted.shape} differ')
    first, second = truth.ravel().astype(np.int64), predicted.ravel().astype(np.int64)
    if not first.size:
        return np.zeros((0, 0), np.int64)
    if min(first.min(), second.min()) < 0:
        raise ValueError('labels must not be negative')
    width = int(second.max()) + 1
    counts = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    return counts.reshape(-1, width)
