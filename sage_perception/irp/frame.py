# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of the crops of a camera's frames, with the same budget for each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.irp.adaptive import AdaptiveVAE
from sage_perception.irp.ledger import atp_of
from sage_perception.irp.orchestrator import Orchestrator, Result, Work
from sage_perception.irp.tinyvae import Crops

PLUGIN = 'adaptive_vae'
MIN_SCORE = 0.01  # lower bound of the salience, so that every crop gets a share


class FrameRefiner:
    """Divides `budget_ms` among the crops of a frame, by salience and expected error.

    `model` is a model name or folder, `device` a torch device. `budget` is the budget of a frame
    in ATP. Raises `ModelError`, and `ImportError` if torch is not installed.
    """

    def __init__(self, model: str, device: str, budget_ms: float) -> None:
        self.budget = atp_of(budget_ms)
        plugin = AdaptiveVAE(model, device=device)
        codec = plugin.codec
        blank = np.zeros((1, codec.input_channels, codec.input_size, codec.input_size), np.float32)
        plugin.refine(blank)  # warm up, so that the first frame does not pay for it
        self._orchestrator = Orchestrator({PLUGIN: plugin})

    def refine(
        self,
        crops: np.ndarray,
        guess: np.ndarray,
        tracks: Sequence[int],
        scores: Sequence[float],
        errors: np.ndarray,
    ) -> Result:
        """Refine the latents of a frame's crops; return the result with an output for each crop.

        `outputs` are latents, float32 `[D]`; `shares` and `telemetry` are those of the crops.

        Parameters
        ----------
        crops : np.ndarray
            Model inputs, float32 `[B, C, S, S]` in [0, 1].
        guess : np.ndarray
            Latents of the encoder, float32 `[B, D]`; they are the outputs of crops that get no
            budget.
        tracks : Sequence[int]
            Track IDs, 0 without a track.
        scores : Sequence[float]
            Salience of the crops.
        errors : np.ndarray
            Expected reconstruction errors (mean squared), NaN where unknown.

        """
        known = errors[np.isfinite(errors)]
        expected = np.where(np.isfinite(errors), errors, known.mean() if len(known) else 1.0)
        need = np.maximum(np.asarray(scores, float), MIN_SCORE) * expected
        work = Work(Crops(crops, tracks, guess), list(need))
        result = self._orchestrator.run({PLUGIN: work}, self.budget)[PLUGIN]
        result.outputs = [
            z if z is not None and np.isfinite(energy) else guess[i]
            for i, (z, energy) in enumerate(
                zip(result.outputs, result.refinement.best, strict=True)
            )
        ]
        return result
