# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trust of a hop of translation: the probability that it keeps what is meant.

A hop keeps an item if the decision that is made from its result (which object is meant) is the
same as that before the hop. Whether it does is predicted from the distances of the decoded
position to the nearest and to the second nearest object: a hop that has lost the position decides
between the two by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 5


@dataclass(frozen=True)
class HopTrust:
    """A logistic model of the distances: the weights of its features, and a constant."""

    weights: tuple[float, ...]
    constant: float

    def __call__(self, nearest: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the trusts `[N]` in [0, 1] of items with these distances, `[N]` both."""
        x = features(nearest, second) @ np.array(self.weights) + self.constant
        return np.asarray(1 / (1 + np.exp(-x.clip(-30, 30))))


def features(nearest: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the features of distances, float64 `[N, 3]`."""
    nearest, second = np.asarray(nearest, float), np.asarray(second, float)
    margin = second - nearest
    return np.stack((margin, nearest, np.log(second + 0.02) - np.log(nearest + 0.02)), 1)


def fit(
    nearest: np.ndarray, second: np.ndarray, kept: np.ndarray, ridge: float = 1e-2
) -> HopTrust:
    """Return the model of maximum likelihood, by Newton's method.

    `kept` has whether the decision was the same, bool `[N]`. Raises `ValueError` without items.
    """
    if not len(kept):
        raise ValueError('no items to fit the trust of a hop to')
    x = np.column_stack((features(nearest, second), np.ones(len(kept))))
    scale = np.maximum(np.abs(x).max(0), 1e-9)
    x, y = x / scale, np.asarray(kept, float)
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-(x @ weights).clip(-30, 30)))
        gradient = x.T @ (p - y) + ridge * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    *found, constant = (weights / scale).tolist()
    return HopTrust(tuple(found), constant)


def calibration_error(
    trust: np.ndarray, kept: np.ndarray, bins: int = BINS
) -> tuple[float, list[int]]:
    """Return the expected calibration error, and the number of items of each bin.

    The bins have equal numbers of items (Nguyen and O'Connor, 2015).
    """
    order = np.argsort(trust, kind='stable')
    parts = np.array_split(order, bins)
    gaps = [len(p) * abs(trust[p].mean() - np.mean(kept[p])) for p in parts if len(p)]
    return float(sum(gaps) / len(trust)), [len(part) for part in parts]
