# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The quality measures of evaluation, per crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sage_perception.training.losses import images as losses
from sage_perception.training.losses import perceptual

PASS_SIMILARITY = 0.85
"""The threshold of the specification, applied to every similarity."""

Scores = dict[str, Any]
"""Names to arrays `[B]`, to None for a measure that is not available, or to nested scores."""


def fidelity(y: np.ndarray, x: np.ndarray) -> Scores:
    """Return PSNR (dB), MSE, SSIM and MS-SSIM of images `y` against `x`.

    Images are float32 `[B, C, H, W]` in [0, 1]. MS-SSIM is None below `MS_SSIM_MIN_SIDE_PX`.
    """
    a, b = torch.from_numpy(y), torch.from_numpy(x)
    large = min(x.shape[2:]) >= losses.MS_SSIM_MIN_SIDE_PX
    return {
        'psnr': losses.psnr(a, b).numpy(),
        'mse': (a - b).square().mean((1, 2, 3)).numpy(),
        'ssim': losses.ssim(a, b).numpy(),
        'ms_ssim': losses.ms_ssim(a, b).numpy() if large else None,
    }


class Scorer:
    """Scores several sets of images against the same originals, float32 `[B, C, S, S]` in [0, 1].

    The perceptual features of the originals are computed once.
    """

    @torch.inference_mode()
    def __init__(self, x: np.ndarray):
        self.x = x
        self._features: list[torch.Tensor] | None = None
        if perceptual.installed():
            self._features = perceptual.features()(torch.from_numpy(x))

    @torch.inference_mode()
    def __call__(self, y: np.ndarray) -> Scores:
        """Return `fidelity`, the perceptual distance, and which similarities pass the threshold.

        The perceptual scores are None if the network is not installed.
        """
        scores = fidelity(y, self.x)
        distance = None
        if self._features is not None:
            features = perceptual.features()(torch.from_numpy(y))
            distance = perceptual.feature_distance(features, self._features).numpy()
        scores['perceptual'] = distance
        scores['perceptual_similarity'] = None if distance is None else 1 - distance
        similarities = ('ssim', 'ms_ssim', 'perceptual_similarity')
        scores['above_085'] = {
            name: None if scores[name] is None else scores[name] > PASS_SIMILARITY
            for name in similarities
        }
        return scores


def concatenated(scores: Sequence[Any]) -> Any:
    """Return the scores of several batches, which have the same keys, as scores of all crops."""
    first = scores[0]
    if isinstance(first, Mapping):
        return {name: concatenated([each[name] for each in scores]) for name in first}
    return None if first is None else np.concatenate(scores)


def means(scores: Any) -> Any:
    """Return scores with each array replaced by its mean, rounded to six decimals."""
    if isinstance(scores, Mapping):
        return {name: means(branch) for name, branch in scores.items()}
    return None if scores is None else round(float(np.mean(scores)), 6)
