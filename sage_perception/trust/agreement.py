# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tells whether two cameras see the same things, and what they see together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from sage_perception.latent import Latent, LatentKind
from sage_perception.trust.lct import LCT, Operation, Provenance, chain_trust

# What one camera says alone is worth a LOW confidence (0.5 to 0.7) of its own trust.
ALONE_TRUST = 0.6


@dataclass(frozen=True)
class Match:
    """Crop `a` of the primary camera and crop `b` of the other, by index; cosine in [-1, 1]."""

    a: int
    b: int
    similarity: float


def centre(latents: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return latents `[N, D]` less the mean of their model's latents, `[D]`.

    Without this the cosine of unrelated pictures is near 1: all latents share a large mean. To
    scale the dimensions to one variance as well makes it worse (docs/house.md): it lifts the ones
    that say least.
    """
    return latents - mean


def cosine_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of every row of `a` `[N, D]` with every row of `b` `[M, D]`: `[N, M]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
    return a @ b.T / np.maximum(lengths, np.finfo(np.float64).tiny)


def match(a: np.ndarray, b: np.ndarray) -> list[Match]:
    """Pair the rows of `a` and `b` (centred) one to one so that their similarities add to most.

    The Hungarian method; `min(N, M)` pairs, in the order of `a`.
    """
    if not len(a) or not len(b):
        return []
    similarity = cosine_matrix(a, b)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return [
        Match(int(i), int(j), float(similarity[i, j])) for i, j in zip(rows, columns, strict=True)
    ]


def fuse(primary: LCT, others: Sequence[tuple[LCT, float]], entity_id: str, sequence: int) -> LCT:
    """Return the latent of `primary` fused with agreeing ones, each with its similarity.

    Each dimension is the mean weighted by precision, the inverse of the variance; without
    variances all weigh the same. The region and the stamp are the primary's. With no others the
    primary is passed on alone, with a low trust.
    """
    lcts = [primary, *(lct for lct, _ in others)]
    means = np.stack([lct.latent.mean for lct in lcts])
    log_var = None
    if all(lct.latent.log_var is not None for lct in lcts):
        log_precision = -np.stack([lct.latent.log_var for lct in lcts]).astype(np.float64)
        # Relative to the surest one: the precision itself may be too large or small for a number.
        surest = log_precision.max(axis=0)
        weights = np.exp(log_precision - surest)
        mean = (means * weights).sum(axis=0) / weights.sum(axis=0)
        log_var = -(surest + np.log(weights.sum(axis=0)))
    else:
        mean = means.mean(axis=0)
    source = primary.latent
    hops = [(primary.id, 1.0 if others else ALONE_TRUST)]
    hops += [(lct.id, min(max(similarity, 0.0), 1.0)) for lct, similarity in others]
    steps = tuple(
        Provenance(Operation.FUSE, entity_id, source.model, parent, trust)
        for parent, trust in hops
    )
    provenance = primary.provenance + steps
    latent = Latent(
        mean=mean.astype(np.float32),
        log_var=None if log_var is None else log_var.astype(np.float32),
        kind=LatentKind.FUSED,
        model=source.model,
        roi=source.roi,
        track_id=source.track_id,
        telemetry=source.telemetry,
    )
    return LCT(entity_id, sequence, primary.stamp_ns, latent, provenance, chain_trust(provenance))
