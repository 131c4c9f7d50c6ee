# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of the latents that several cameras have of one object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent, LatentKind
from sage_perception.core.lct import LCT, Operation, Provenance, step_from
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.trust.security.limits import MAX_STEPS

ALONE_TRUST = 0.6
"""Trust in the fusion step of an object that one camera alone sees: LOW, 0.5 to 0.7."""
MIN_WEIGHT = 1e-6
"""Smallest weight of a view: it still counts in a dimension where no other view is certain."""


class View(NamedTuple):
    """The LCT that one camera has of an object, and the weight of that camera in [0, 1].

    A view that is not `agreeing` belongs to the track of the object, but differs from the primary
    view at present; it does not raise the trust.
    """

    lct: LCT
    camera_weight: float = 1.0
    camera: str = ''
    agreeing: bool = True


def fuse(
    views: Sequence[View],
    mean: np.ndarray,
    entity_id: str,
    sequence: int,
    weights: np.ndarray | float = 1.0,
    shares: np.ndarray | None = None,
) -> LCT:
    """Return the fused LCT of several views of one object; the first view is the primary one.

    With `shares` `[V]`, which sum to 1, the latent is their weighted mean. Otherwise each
    dimension is the mean of the views weighted by their precision, the inverse of the variance,
    and by `view_weights`; without variances all views have equal precision. `mean` `[D]` is the
    mean latent of the model and `weights` `[D]` scales the dimensions; both serve to compare the
    views, see `matching.center`. The region and the stamp are those of the primary view. A
    primary view alone passes with the trust `ALONE_TRUST` in this step.

    Views beyond the provenance steps that a message can hold are left out.
    """
    primary = views[0].lct
    views = views[: MAX_STEPS - len(primary.provenance)]
    means = np.stack([view.lct.latent.mean for view in views])
    cosines = cosine_matrix(*[center(means, mean, weights)] * 2)
    if shares is None:
        fused, log_var = _precision_mean(views, means, view_weights(views, cosines))
    else:
        fused, log_var = _shared_mean(views, means, shares[: len(views)])
    latent = Latent(
        mean=fused.astype(np.float32),
        log_var=log_var,
        kind=LatentKind.FUSED,
        model=primary.latent.model,
        roi=primary.latent.roi,
        track_id=primary.latent.track_id,
        telemetry=primary.latent.telemetry,
    )
    return LCT.derived(
        latent,
        primary.provenance + _fusion_steps(views, cosines[0], entity_id),
        entity_id=entity_id,
        sequence=sequence,
        stamp_ns=primary.stamp_ns,
    )


def _precision_mean(
    views: Sequence[View], means: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mean `[D]` by precision and weights `[V]`, and its log variance."""
    shares, log_vars, log_var = weights[:, None], _log_vars(views), None
    if log_vars is not None:
        # Relative to the largest one: the precision itself may overflow or underflow.
        largest = (-log_vars).max(axis=0)
        shares = shares * np.exp(-log_vars - largest)
        log_var = (-(largest + np.log(shares.sum(axis=0)))).astype(np.float32)
    return (means * shares).sum(axis=0) / shares.sum(axis=0), log_var


def _shared_mean(
    views: Sequence[View], means: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mean `[D]` by `shares` `[V]`, and the log variance of independent views."""
    shares = shares[:, None] / shares.sum()
    log_vars = _log_vars(views)
    if log_vars is None:
        return (means * shares).sum(axis=0), None
    largest = log_vars.max(axis=0)
    sum_ = (shares**2 * np.exp(log_vars - largest)).sum(axis=0)
    return (means * shares).sum(axis=0), (largest + np.log(sum_)).astype(np.float32)


def _log_vars(views: Sequence[View]) -> np.ndarray | None:
    """Return the log variances `[V, D]`; None unless all views have them."""
    found = [view.lct.latent.log_var for view in views if view.lct.latent.log_var is not None]
    return np.stack(found).astype(np.float64) if len(found) == len(views) else None


def view_weights(views: Sequence[View], cosines: np.ndarray) -> np.ndarray:
    """Return the weight of each view `[V]`, relative to the largest one, which is 1.

    A weight is the trust in the view times that in its camera times the mean cosine with the other
    views; `cosines` `[V, V]` are the similarities between all views.
    """
    trusts = np.array([view.camera_weight * view.lct.trust for view in views])
    if len(views) > 1:
        alignment = (cosines.sum(axis=1) - cosines.diagonal()) / (len(views) - 1)
        trusts = trusts * np.maximum(alignment, 0.0)
    largest = trusts.max()
    return np.maximum(trusts / largest, MIN_WEIGHT) if largest > 0 else np.ones(len(views))


def _fusion_steps(
    views: Sequence[View], similarity: np.ndarray, entity_id: str
) -> tuple[Provenance, ...]:
    """Return a FUSE step for each view; `similarity` `[V]` is the cosine with the primary view.

    The trust of the primary's step is the weight of its camera. The other views raise the
    confidence from `ALONE_TRUST` towards 1 as independent evidence does (noisy-or of similarity
    times camera weight), so that another view never lowers it. Their steps share the confidence
    equally.
    """
    doubts = [
        1 - max(s, 0.0) * v.camera_weight * v.agreeing
        for s, v in zip(similarity[1:], views[1:], strict=True)
    ]
    confidence = ALONE_TRUST + (1 - ALONE_TRUST) * (1 - math.prod(doubts))
    if len(views) == 1:
        trusts = [views[0].camera_weight * confidence]
    else:
        trusts = [views[0].camera_weight, *[confidence ** (1 / len(doubts))] * len(doubts)]
    primary, model = views[0].lct, views[0].lct.latent.model
    first, *others = (float(np.clip(trust, 0.0, 1.0)) for trust in trusts)
    return (
        step_from(primary, Operation.FUSE, entity_id, model, first),
        *(
            Provenance(Operation.FUSE, entity_id, model, view.lct.id, trust)
            for view, trust in zip(views[1:], others, strict=True)
        ),
    )
