# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How like the originals images are: every measure of evaluation, crop by crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sage_perception.training.losses import images as losses
from sage_perception.training.losses import perceptual

MIN_SIDE_PX = 48  # side of the smallest image whose fifth scale MS-SSIM's window still fits
PASS = 0.85  # the specification's line, for every similarity alike

Tree = Mapping  # names to arrays [B], to None for what cannot be measured, or to trees


def fidelity(y: np.ndarray, x: np.ndarray) -> Tree:
    """Return PSNR (dB), MSE, SSIM and MS-SSIM of images `y` against `x`, float32 in [0, 1]."""
    a, b = torch.from_numpy(y), torch.from_numpy(x)
    large = min(x.shape[2:]) >= MIN_SIDE_PX
    return {
        'psnr': losses.psnr(a, b).numpy(),
        'mse': (a - b).square().mean((1, 2, 3)).numpy(),
        'ssim': losses.ssim(a, b).numpy(),
        'ms_ssim': losses.ms_ssim(a, b).numpy() if large else None,
    }


class Judge:
    """Compares with the same originals `x`, float32 `[B, C, S, S]` in [0, 1], again and again."""

    @torch.inference_mode()
    def __init__(self, x: np.ndarray):
        self.x = x
        self._features = None
        if perceptual.installed():
            self._features = perceptual.features()(torch.from_numpy(x))

    @torch.inference_mode()
    def __call__(self, y: np.ndarray) -> Tree:
        """Return `fidelity`, the perceptual distance, and whether similarities are over .85."""
        scores = fidelity(y, self.x)
        distance = None
        if self._features is not None:
            theirs = perceptual.features()(torch.from_numpy(y))
            distance = perceptual.feature_distance(theirs, self._features).numpy()
        scores['perceptual'] = distance
        scores['perceptual_similarity'] = None if distance is None else 1 - distance
        similarities = ('ssim', 'ms_ssim', 'perceptual_similarity')
        scores['above_085'] = {
            name: None if scores[name] is None else scores[name] > PASS for name in similarities
        }
        return scores


def joined(trees: Sequence[Tree]) -> Tree:
    """Return one tree for the crops of several of the same form."""
    first = trees[0]
    if isinstance(first, Mapping):
        return {name: joined([tree[name] for tree in trees]) for name in first}
    return None if first is None else np.concatenate(trees)


def means(tree: Tree) -> Tree:
    """Return the tree with the mean over crops, to six decimals, in place of each array."""
    if isinstance(tree, Mapping):
        return {name: means(branch) for name, branch in tree.items()}
    return None if tree is None else round(float(np.mean(tree)), 6)
