# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Makes one latent of what several cameras see of one thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent, LatentKind
from sage_perception.core.lct import LCT, Operation, Provenance, step_from
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.trust.security.rejection import MAX_STEPS

# What one camera says alone is worth a LOW confidence (0.5 to 0.7) of its own trust.
ALONE_TRUST = 0.6


class View(NamedTuple):
    """What one camera says of a thing, and what is thought of that camera, in [0, 1]."""

    lct: LCT
    camera_weight: float = 1.0


def fuse(
    views: Sequence[View],
    mean: np.ndarray,
    entity_id: str,
    sequence: int,
    weights: np.ndarray | float = 1.0,
) -> LCT:
    """Return one latent of several of the same thing; the first is that of the primary camera.

    Each dimension is the mean weighted by precision, the inverse of the variance (without
    variances all have the same), and by view. A view weighs as much as it is trusted times how
    well it agrees with the others: the mean cosine of their latents, less `mean`, that of all
    latents, each dimension times its one of `weights`. Region and stamp are the primary's. A
    primary alone is passed on with a low trust.
    """
    primary = views[0].lct
    views = views[: MAX_STEPS - len(primary.provenance)]
    lcts = [view.lct for view in views]
    means = np.stack([lct.latent.mean for lct in lcts])
    cosines = cosine_matrix(*[center(means, mean, weights)] * 2)
    shares = view_weights(views, cosines)[:, None]
    log_var = None
    if all(lct.latent.log_var is not None for lct in lcts):
        log_precision = -np.stack([lct.latent.log_var for lct in lcts]).astype(np.float64)
        # Relative to the surest one: the precision itself may be too large or small for a number.
        surest = log_precision.max(axis=0)
        shares = shares * np.exp(log_precision - surest)
        log_var = (-(surest + np.log(shares.sum(axis=0)))).astype(np.float32)
    latent = Latent(
        mean=((means * shares).sum(axis=0) / shares.sum(axis=0)).astype(np.float32),
        log_var=log_var,
        kind=LatentKind.FUSED,
        model=primary.latent.model,
        roi=primary.latent.roi,
        track_id=primary.latent.track_id,
        telemetry=primary.latent.telemetry,
    )
    provenance = primary.provenance + _steps(views, cosines[0], entity_id)
    return LCT.derived(
        latent,
        provenance,
        entity_id=entity_id,
        sequence=sequence,
        stamp_ns=primary.stamp_ns,
    )


def view_weights(views: Sequence[View], cosines: np.ndarray) -> np.ndarray:
    """Return what each view weighs, `[V]`, the most 1; `cosines` `[V, V]` are between them."""
    trusts = np.array([view.camera_weight * view.lct.trust for view in views])
    if len(views) > 1:
        alignment = (cosines.sum(axis=1) - cosines.diagonal()) / (len(views) - 1)
        trusts = trusts * np.maximum(alignment, 0.0)
    most = trusts.max()
    # A small weight still counts where nothing else says anything.
    return np.maximum(trusts / most, 1e-6) if most > 0 else np.ones(len(views))


def _steps(views: Sequence[View], similarity: np.ndarray, entity_id: str) -> tuple:
    """Return a step for each view; `similarity` `[V]` is that with the primary.

    The primary's step has what is thought of its camera. The others together lift that from
    `ALONE_TRUST` towards 1 as independent witnesses do, each by its similarity times what is
    thought of it, and share the rest evenly: more witnesses never make it worth less.
    """
    doubts = [
        1 - max(s, 0.0) * v.camera_weight for s, v in zip(similarity[1:], views[1:], strict=True)
    ]
    confidence = ALONE_TRUST + (1 - ALONE_TRUST) * (1 - math.prod(doubts))
    if len(views) == 1:
        hops = [views[0].camera_weight * confidence]
    else:
        hops = [views[0].camera_weight, *[confidence ** (1 / len(doubts))] * len(doubts)]
    primary, model = views[0].lct, views[0].lct.latent.model
    first, *others = (float(np.clip(trust, 0.0, 1.0)) for trust in hops)
    return (
        step_from(primary, Operation.FUSE, entity_id, model, first),
        *(
            Provenance(Operation.FUSE, entity_id, model, view.lct.id, trust)
            for view, trust in zip(views[1:], others, strict=True)
        ),
    )
