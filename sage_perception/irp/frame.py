# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refines the latents of a camera's frames, each frame within the same budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.irp.adaptive import AdaptiveVAE
from sage_perception.irp.ledger import atp_of
from sage_perception.irp.orchestrator import Orchestrator, Result, Work
from sage_perception.irp.tinyvae import Crops

PLUGIN = 'adaptive_vae'
MIN_SCORE = 0.01  # what is not salient at all still may get something


class FrameRefiner:
    """Shares `budget_ms` a frame among its crops, by salience and by how badly they decode.

    `model` is a name or folder, `device` torch's. Raises `ModelError`, and `ImportError` where
    torch is not installed.
    """

    def __init__(self, model: str, device: str, budget_ms: float):
        self.budget = atp_of(budget_ms)
        plugin = AdaptiveVAE(model, device=device)
        codec = plugin.codec
        blank = np.zeros((1, codec.input_channels, codec.input_size, codec.input_size), np.float32)
        plugin.refine(blank)  # what is done once should not be paid for by the first frame
        self._orchestrator = Orchestrator({PLUGIN: plugin})

    def refine(
        self,
        pictures: np.ndarray,
        guess: np.ndarray,
        tracks: Sequence[int],
        scores: Sequence[float],
        errors: np.ndarray,
    ) -> Result:
        """Return what became of a frame's crops, float32 `[B, C, S, S]` in [0, 1].

        `guess` are the encoder's latents `[B, D]`, which stay the result of crops that no budget
        was left for. `scores` are the crops' salience, `errors` the squared errors with which
        they are expected to decode, NaN where nothing is known.
        """
        known = errors[np.isfinite(errors)]
        expected = np.where(np.isfinite(errors), errors, known.mean() if len(known) else 1.0)
        need = np.maximum(np.asarray(scores, float), MIN_SCORE) * expected
        work = Work(Crops(pictures, tracks, guess), need)
        result = self._orchestrator.run({PLUGIN: work}, self.budget)[PLUGIN]
        result.outputs = [
            z if z is not None and np.isfinite(energy) else guess[i]
            for i, (z, energy) in enumerate(
                zip(result.outputs, result.refinement.best, strict=True)
            )
        ]
        return result
