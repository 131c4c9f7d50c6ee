# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent space of a context and its scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.context.layout import LATENT_DIM, ContextError
from sage_perception.core.latent import Latent, ModelId


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Normalization of the latents of one model.

    Latents in a context are centered and divided by a single scale, the root mean square of the
    standard deviations. This preserves the ratios of distances, and the variance of a dimension is
    1 on average. `mean` is float32 `[64]`.
    """

    model: ModelId
    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, model: ModelId, mean: np.ndarray, std: np.ndarray) -> LatentSpace:
        """Return the space of a model from the statistics of its latents, each `[64]`.

        Raises `ContextError` for another shape and for values that are not finite and positive.
        """
        mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        if mean.shape != (LATENT_DIM,) or std.shape != (LATENT_DIM,):
            raise ContextError(
                f'contexts hold {LATENT_DIM}-D latents, those of {model} are {mean.size}-D'
            )
        scale = float(np.sqrt(np.square(std, dtype=np.float64).mean()))
        if not (math.isfinite(scale) and scale > 0 and np.isfinite(mean).all()):
            raise ContextError(f'the latent statistics of {model} are not finite and positive')
        return cls(model, mean, scale)

    def normalize(self, z: np.ndarray) -> np.ndarray:
        """Return latents `[..., 64]` in the unit of a context."""
        return (z - self.mean) / np.float32(self.scale)

    def denormalize(self, values: np.ndarray) -> np.ndarray:
        """Return values of a context `[..., 64]` as latents of the model."""
        return values * np.float32(self.scale) + self.mean

    def require(self, latent: Latent) -> None:
        """Raise `ContextError` unless a latent is of this space and finite."""
        if latent.model.fingerprint != self.model.fingerprint or latent.dim != LATENT_DIM:
            raise ContextError(
                f'the context holds {LATENT_DIM}-D latents of {self.model}, not {latent.dim}-D '
                f'ones of {latent.model}'
            )
        if not np.isfinite(latent.mean).all():
            raise ContextError(f'a latent of {latent.model} is not finite')

    def stack(self, latents: Sequence[Latent], limit: int) -> np.ndarray:
        """Return the first `limit` latents in the unit of a context, float32 `[N, 64]`.

        Raises `ContextError` as `require` does.
        """
        for latent in latents:
            self.require(latent)
        if not latents:
            return np.empty((0, LATENT_DIM), np.float32)
        return self.normalize(np.stack([latent.mean for latent in latents[:limit]]))
