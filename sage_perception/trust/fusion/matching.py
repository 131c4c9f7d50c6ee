# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One-to-one matching of the crops of two cameras by the similarity of their latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Match:
    """Crop `a` of the primary camera and crop `b` of another, as indices.

    `similarity` is a cosine in [-1, 1]. `agrees` tells whether the crops are taken for the same
    object, and `log_ratio` is the log-likelihood ratio of that, None if it is not fitted.
    """

    a: int
    b: int
    similarity: float
    agrees: bool = False
    log_ratio: float | None = None


def center(latents: np.ndarray, mean: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Return latents `[N, D]` minus the mean `[D]` of their model, times `weights` `[D]`.

    Subtract the mean before computing cosines: all latents of a model share a large mean, so the
    cosine of unrelated images would be near 1. Do not scale all dimensions to unit variance, which
    amplifies the least informative ones (docs/trust.md). Fitted weights that separate equal from
    different objects best come from `sage_perception.trust.fitted.similarity_weights`.
    """
    return (latents - mean) * weights


def cosine_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity `[N, M]` of the rows of `a` `[N, D]` and `b` `[M, D]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
    return a @ b.T / np.maximum(lengths, np.finfo(np.float64).tiny)


def match(a: np.ndarray, b: np.ndarray, possible: np.ndarray | None = None) -> list[Match]:
    """Return the one-to-one matching of rows that maximizes the sum of cosine similarities.

    `a` is `[N, D]` and `b` `[M, D]`, both centered; solved with the Hungarian method. The result
    has min(N, M) matches, ordered by row of `a`. `possible`, bool `[N, M]`, excludes pairs; the
    result may then have fewer matches, but always as many as can be formed.
    """
    similarity = cosine_matrix(a, b)
    return [Match(i, j, float(similarity[i, j])) for i, j in assign(similarity, possible)]


def assign(score: np.ndarray, possible: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the one-to-one matching with the largest sum of scores.

    `score` `[N, M]` is finite. The result has min(N, M) pairs, ordered by row. `possible`, bool
    `[N, M]`, excludes pairs; the result may then have fewer pairs, but always as many as can be
    formed.
    """
    if not score.size:
        return []
    gain = score
    if possible is not None:
        # An excluded pair costs more than all other pairs together can gain.
        span = float(score.max() - score.min()) + 1.0
        gain = np.where(possible, score, score.min() - span * len(score))
    # 40 MB, which an encoder that compares tracks does not need.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [
        (int(i), int(j))
        for i, j in zip(rows, columns, strict=True)
        if possible is None or possible[i, j]
    ]
