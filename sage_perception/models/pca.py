# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Principal component analysis: initialization of networks and baseline of model cards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Pca:
    """Fitted components: `mean` `[N]` and `components` `[D, N]` with orthonormal rows."""

    mean: np.ndarray
    components: np.ndarray

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Return images `[B, ...]` projected onto the components, float32 in [0, 1]."""
        flat = x.reshape(len(x), -1) - self.mean
        kept = flat @ self.components.T @ self.components + self.mean
        return kept.reshape(x.shape).clip(0, 1).astype(np.float32)


def fit(x: np.ndarray, dims: int) -> Pca:
    """Fit `dims` components to images, float32 `[B, ...]` (randomized: Halko et al., 2011)."""
    flat = torch.from_numpy(x.reshape(len(x), -1))
    mean = flat.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, v = torch.svd_lowrank(flat - mean, q=min(dims + 16, *flat.shape), niter=4)
    return Pca(mean.numpy(), v.T[:dims].contiguous().numpy())
