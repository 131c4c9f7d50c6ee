# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refines the latent and the word of a sound: encodes it at more and more shifts (AudioIRP)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Telemetry
from sage_perception.irp.halting import Halting
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.models import load_audio
from sage_perception.models.audio_model import AudioModel
from sage_perception.models.softmax import softmax

SHIFTS = (0, *(sign * frames for frames in range(1, 9) for sign in (1, -1)))
"""Frames of 12.5 ms by which a spectrogram is shifted, in the order in which they are tried."""
SINGLE_COST = 0.01
"""Energy of a word by one shift, relative to one by many; an average of n shifts has 1/n of it."""


class RefinedSound(NamedTuple):
    """The latent that is decoded best, and the word by all shifts.

    Attributes:
        mean, log_var: float32 `[D]`.
        logits: float64 `[W]`, whose softmax at the temperature of the model is the mean of the
            probabilities; for `AudioModel.recognize`.
        fit: R² of the decoded spectrogram, at most 1.
    """

    mean: np.ndarray
    log_var: np.ndarray
    logits: np.ndarray
    fit: float


@dataclass(frozen=True, eq=False)
class Shifted:
    """Spectrograms, their best latents with 1 − R² of these, sums of probabilities, and counts."""

    mel: np.ndarray
    mean: np.ndarray
    log_var: np.ndarray
    errors: np.ndarray
    total: np.ndarray
    tried: np.ndarray


class AudioIRP(IRPPlugin[np.ndarray, Shifted]):
    """Encodes spectrograms at shifts in time, and averages the probabilities of the words.

    The place of a sound in its window is chance, and so is a part of the decision on the word. The
    energy is 1 − R² of the best decoded spectrogram, plus `SINGLE_COST` over the number of shifts.
    A model may be given by its name. Raises `ModelError` for another model.
    """

    max_iterations = len(SHIFTS)
    # A shift that is no better does not mean that the next one is none.
    halting = Halting(window=len(SHIFTS) + 1, patience=len(SHIFTS) + 1)

    def __init__(self, model: AudioModel | str = 'audiovae'):
        self.model = load_audio(model) if isinstance(model, str) else model

    def init_state(self, x: np.ndarray) -> Shifted:
        """Return the state after the first shift; `x` are spectrograms `[B, 1, bands, frames]`."""
        mel = np.asarray(x, np.float32)
        mean, log_var = np.zeros((2, len(mel), self.model.latent_dim), np.float32)
        labels = np.zeros((len(mel), len(self.model.labels)))
        errors, tried = np.full(len(mel), np.inf), np.zeros(len(mel), int)
        first = Shifted(mel, mean, log_var, errors, labels, tried)
        return self.step(first, np.ones(len(mel), bool))

    def step(self, state: Shifted, active: np.ndarray) -> Shifted:
        """Return the state after one more shift of the active items."""
        rows = np.flatnonzero(active & (state.tried < len(SHIFTS)))
        if not len(rows):
            return state
        mel = np.stack([shifted(state.mel[row], SHIFTS[state.tried[row]]) for row in rows])
        output = self.model.encode(mel)
        errors = 1 - self.model.reconstruction(output.mean, mel)[1]
        new = replace(
            state, mean=state.mean.copy(), log_var=state.log_var.copy(),
            errors=state.errors.copy(), total=state.total.copy(), tried=state.tried.copy(),
        )  # fmt: skip
        better = errors < state.errors[rows]
        new.mean[rows[better]] = output.mean[better]
        new.log_var[rows[better]] = output.log_var[better]
        new.errors[rows[better]] = errors[better]
        new.total[rows] += softmax(output.logits.astype(np.float64) / self.model.temperature)
        new.tried[rows] += 1
        return new

    def energy(self, state: Shifted) -> np.ndarray:
        """Return 1 − R² of the best latents and the cost of few shifts, `[B]`."""
        return state.errors + SINGLE_COST / np.maximum(state.tried, 1)

    def output(self, state: Shifted) -> list[RefinedSound]:
        """Return the best latents, and the logits of the mean probabilities."""
        mean = np.maximum(state.total / np.maximum(state.tried, 1)[:, None], 1e-12)
        logits = self.model.temperature * np.log(mean)
        return [
            RefinedSound(*row[:3], 1 - float(row[3]))
            for row in zip(state.mean, state.log_var, logits, state.errors, strict=True)
        ]

    def describe(
        self, state: Shifted, item: int, output: RefinedSound, telemetry: Telemetry
    ) -> Telemetry:
        """Return the telemetry with the trust: R², at least 0."""
        trust = float(np.clip(np.nan_to_num(output.fit), 0, 1))
        return replace(telemetry, trust=trust)


def shifted(mel: np.ndarray, frames: int) -> np.ndarray:
    """Return a spectrogram `[..., frames]` that is later by some frames, with silence before."""
    moved = np.zeros_like(mel)
    count = mel.shape[-1]
    first, last = max(frames, 0), min(count + frames, count)
    moved[..., first:last] = mel[..., first - frames : last - frames]
    return moved
