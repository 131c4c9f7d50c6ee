# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tells whether two cameras see the same things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Match:
    """Crop `a` of the primary camera and crop `b` of the other, by index; cosine in [-1, 1]."""

    a: int
    b: int
    similarity: float


def center(latents: np.ndarray, mean: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Return latents `[N, D]` less the mean of their model's latents, `[D]`, times `weights`.

    Without this the cosine of unrelated images is near 1: all latents share a large mean. To
    scale the dimensions to one variance as well makes it worse (docs/trust.md): it lifts the ones
    that say least. `sage_perception.trust.fitted.similarity_weights` are those that tell best what
    is the same thing seen by another camera.
    """
    return (latents - mean) * weights


def cosine_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of every row of `a` `[N, D]` with every row of `b` `[M, D]`: `[N, M]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
    return a @ b.T / np.maximum(lengths, np.finfo(np.float64).tiny)


def match(a: np.ndarray, b: np.ndarray, possible: np.ndarray | None = None) -> list[Match]:
    """Pair the rows of `a` and `b` (centered) one to one so that their similarities add to most.

    The Hungarian method; `min(N, M)` pairs, in the order of `a`. Where `possible`, bool `[N, M]`,
    is given, pairs that are not are left out: then there may be fewer.
    """
    if not len(a) or not len(b):
        return []
    similarity = cosine_matrix(a, b)
    # An impossible pair is worse than all others together.
    worth = similarity if possible is None else np.where(possible, similarity, -2.0 * len(a) - 1)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [
        Match(int(i), int(j), float(similarity[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if possible is None or possible[i, j]
    ]
