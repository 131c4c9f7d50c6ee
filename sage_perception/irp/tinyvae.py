# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Crops to latents, refined: the encoder's guess, then descent on the reconstruction energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sage_perception.core.latent import Telemetry
from sage_perception.core.metrics import kl_per_dim
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.models import artifact, load_crop_codec
from sage_perception.models.registry import resolve
from sage_perception.trust.quality import telemetry_trust

RATE = 0.3  # of a Newton step, at first
MOMENTUM = 0.5
REACH = 6.0  # standard deviations from the mean that a latent may be moved to


@dataclass(frozen=True)
class Crops:
    """Crops to be refined: float32 `[B, C, S, S]` in [0, 1], their tracks, and the guess.

    `guess` are the encoder's latents `[B, D]` where they are known already. A track is a number
    that the same thing has in successive frames, 0: none.
    """

    pictures: np.ndarray
    tracks: Sequence[int] = ()
    guess: np.ndarray | None = None

    def __len__(self):
        return len(self.pictures)


@dataclass
class Descent:
    """Where B latents are. The best place so far is where a step that failed starts again."""

    crops: Crops
    guess: np.ndarray  # [B, D]
    log_var: np.ndarray | None  # [B, D]
    z: np.ndarray  # [B, D]
    energy: np.ndarray  # [B]
    best_z: np.ndarray
    best_energy: np.ndarray
    gradient: np.ndarray  # [B, D], at best_z
    velocity: np.ndarray  # [B, D]
    rate: np.ndarray  # [B, 1]


class TinyVAEIRP(IRPPlugin[Crops, Descent]):
    """Latents that decode better than the encoder's, for any model whose latents are `[D]`.

    A step is one of gradient descent in the metric of the decoder's mean curvature, with momentum
    (Polyak, 1964). After a step that led up, an item goes back to its best place with half the
    rate and at rest (the restart of O'Donoghue and Candès, 2015). Latents stay within `REACH`
    standard deviations of their mean, or as far off as the encoder put them: receivers decode
    them with the same decoder and know nothing of all this.

    `decoder` is a model of the same fingerprint whose decoder receivers use; empty: its own.
    Raises `ModelError`. torch must be installed.
    """

    def __init__(self, model: str = 'tinyvae', decoder: str = '', device: str = 'cpu'):
        from sage_perception.models.energy import ReconstructionEnergy

        self.codec = load_crop_codec(model, device=device)
        painter = artifact.read(resolve(decoder or model))
        if painter.id.fingerprint != self.codec.id.fingerprint:
            raise artifact.ModelError(
                f'{painter.id} does not decode the latents of {self.codec.id}: their '
                'fingerprints must be the same'
            )
        self.reconstruction_energy = ReconstructionEnergy(painter, self.codec.device)

    def init_state(self, x: Crops | np.ndarray) -> Descent:
        """Return the state at the encoder's guess for crops, or images `[B, C, S, S]`."""
        crops = x if isinstance(x, Crops) else Crops(x)
        log_var = None
        guess = crops.guess
        if guess is None:
            guess, log_var = self.codec.encode_stats(crops.pictures)
        z = self.start(crops, guess)
        energy, gradient = self.reconstruction_energy(z, crops.pictures)
        rate = np.full((len(z), 1), RATE, np.float32)
        return Descent(
            crops, guess, log_var, z, energy, z, energy, gradient, np.zeros_like(z), rate
        )

    def start(self, crops: Crops, guess: np.ndarray) -> np.ndarray:
        """Return where the descents begin, `[B, D]`."""
        return guess

    def step(self, state: Descent, active: np.ndarray) -> Descent:
        """Return the state after one step of the active items."""
        at = np.flatnonzero(active)
        new = replace(
            state,
            **{
                name: getattr(state, name).copy()
                for name in (
                    'z',
                    'energy',
                    'best_z',
                    'best_energy',
                    'gradient',
                    'velocity',
                    'rate',
                )
            },
        )
        downhill = -state.gradient[at] @ self.reconstruction_energy.metric
        velocity = MOMENTUM * state.velocity[at] + state.rate[at] * downhill
        z = self._within_reach(state.best_z[at] + velocity, state.guess[at])
        energy, gradient = self.reconstruction_energy(z, state.crops.pictures[at])
        better = energy < state.best_energy[at]
        new.z[at], new.energy[at] = z, energy
        won, lost = at[better], at[~better]
        new.best_z[won], new.best_energy[won] = z[better], energy[better]
        new.gradient[won], new.velocity[won] = gradient[better], velocity[better]
        new.velocity[lost] = 0
        new.rate[lost] /= 2
        return new

    def _within_reach(self, z: np.ndarray, guess: np.ndarray) -> np.ndarray:
        mean, reach = self.codec.latent_mean, REACH * self.codec.latent_std
        reach = np.maximum(reach, np.abs(guess - mean))
        return np.clip(z, mean - reach, mean + reach)

    def energy(self, state: Descent) -> np.ndarray:
        """Return the mean squared errors of the images that the latents decode to, [B]."""
        return state.energy

    def output(self, state: Descent) -> np.ndarray:
        """Return the latents, float32 [B, D]."""
        return state.z

    def describe(self, state: Descent, item: int, output: Any, told: Telemetry) -> Telemetry:
        """Return telemetry with what is known of a latent and its trust (section 6.1)."""
        error = min(told.energy_trajectory)
        kl = float('nan')
        if state.log_var is not None:
            kl = float(kl_per_dim(output, state.log_var[item]))
        return replace(
            told,
            trust=telemetry_trust(error, kl),
            reconstruction_error=error,
            kl_per_dim=kl,
            latent_norm=float(np.linalg.norm(output)),
        )
