# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Losses of volumes, in numpy; `models.networks.zspace.losses` has them in torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.zspace.checks import ZSpaceError
from sage_perception.zspace.diffusion import ZDiffuser
from sage_perception.zspace.volume import ZSpaceVolume

EPS = 1e-12
"""Added to mean squares that divide."""


def slice_agreement_loss(volume: ZSpaceVolume) -> float:
    """Return 1 minus the mean cosine of all pairs of slices, in [0, 2].

    0 if all slices are multiples of each other, as those of cameras that see the same map are. A
    volume of one slice has the loss 0.
    """
    if volume.depth < 2:
        return 0.0
    flat = volume.values.reshape(volume.depth, -1).astype(np.float64)
    norms = np.sqrt(np.square(flat).sum(axis=1, keepdims=True) + EPS)
    cosines = (flat / norms) @ (flat / norms).T
    pairs = volume.depth * (volume.depth - 1)
    return float(1 - (cosines.sum() - np.trace(cosines)) / pairs)


def temporal_smoothness_loss(volumes: Sequence[ZSpaceVolume]) -> float:
    """Return the mean square of the change between successive volumes over that of the values.

    0 for volumes that do not change; independent of their scale. Raises `ZSpaceError` if the
    shapes differ.
    """
    if len({volume.shape for volume in volumes}) > 1:
        raise ZSpaceError('temporal smoothness needs volumes of one shape')
    if len(volumes) < 2:
        return 0.0
    values = np.stack([volume.values for volume in volumes]).astype(np.float64)
    return float(np.square(np.diff(values, axis=0)).mean() / (np.square(values).mean() + EPS))


def diffusion_consistency_loss(volume: ZSpaceVolume, diffuser: ZDiffuser) -> float:
    """Return the mean square of what diffusion changes over that of the values.

    0 for a constant volume; large for one whose neighbors do not agree.
    """
    values = volume.values.astype(np.float64)
    change = diffuser.diffuse(volume).values - values
    return float(np.square(change).mean() / (np.square(values).mean() + EPS))
