# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent space that a memory is searched in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.models import artifact
from sage_perception.models.registry import resolve


@dataclass(frozen=True, eq=False)
class Space:
    """The latent space of one model; `mean` is the mean of its latents, float32 `[D]`."""

    model: ModelId
    mean: np.ndarray

    @classmethod
    def of(cls, name_or_path: str | Path) -> Space:
        """Return the space of a model in the registry or in a folder. Raises `ModelError`."""
        model = artifact.read(resolve(name_or_path))
        return cls(model.id, model.tensors[artifact.LATENT_MEAN].ravel())

    @property
    def dim(self) -> int:
        """Return the number of dimensions D."""
        return self.mean.size

    def directions(self, latents: np.ndarray) -> np.ndarray:
        """Return centered latents scaled to length 1, float32 `[N, D]`.

        The dot product of two directions is the centered cosine of their latents.
        """
        centered = np.asarray(latents, np.float64) - self.mean
        length = np.linalg.norm(centered, axis=1, keepdims=True)
        return (centered / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
