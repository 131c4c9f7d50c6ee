# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Matches of the crops of two cameras, and the similarity of latents."""

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


def _lengths(rows: np.ndarray) -> np.ndarray:
    """Return the lengths of rows; `np.linalg.norm` takes several times as long for a few."""
    return np.sqrt(np.square(rows).sum(axis=1))


def cosine_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity `[N, M]` of the rows of `a` `[N, D]` and `b` `[M, D]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = _lengths(a)[:, None] * _lengths(b)
    return a @ b.T / np.maximum(lengths, np.finfo(np.float64).tiny)
