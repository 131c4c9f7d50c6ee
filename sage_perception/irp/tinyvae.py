# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of latents: gradient descent on the reconstruction energy."""

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

STEP_SIZE = 0.3  # initial, relative to a Newton step
MOMENTUM = 0.5
MAX_DEVIATION = 6.0  # of a refined latent from the mean, standard deviations


@dataclass(frozen=True)
class Crops:
    """A batch of crops.

    Attributes
    ----------
    images : np.ndarray
        Model inputs, float32 `[B, C, S, S]` in [0, 1].
    tracks : Sequence[int]
        Track IDs, 0 without a track; empty if there are no tracks.
    guess : np.ndarray, optional
        Latents of the encoder, float32 `[B, D]`; encoded from `images` if None.

    """

    images: np.ndarray
    tracks: Sequence[int] = ()
    guess: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Descent:
    """The state of B descents; a failed step restarts from the best latent so far."""

    crops: Crops
    guess: np.ndarray  # [B, D]
    log_var: np.ndarray | None  # [B, D]
    z: np.ndarray  # [B, D]
    energy: np.ndarray  # [B]
    best_z: np.ndarray  # [B, D]
    best_energy: np.ndarray  # [B]
    gradient: np.ndarray  # [B, D], at best_z
    velocity: np.ndarray  # [B, D]
    step_size: np.ndarray  # [B, 1]

    def copy(self) -> Descent:
        """Return a copy whose arrays of the current and the best latents may be changed."""
        return replace(
            self,
            z=self.z.copy(),
            energy=self.energy.copy(),
            best_z=self.best_z.copy(),
            best_energy=self.best_energy.copy(),
            gradient=self.gradient.copy(),
            velocity=self.velocity.copy(),
            step_size=self.step_size.copy(),
        )


class TinyVAEIRP(IRPPlugin[Crops | np.ndarray, Descent]):
    """Refines latents of any model whose latents are `[D]`, so that they decode better.

    A step is gradient descent, preconditioned by the mean curvature of the decoder, with momentum
    (Polyak, 1964). If the energy rises, the item returns to its best latent with zero velocity and
    half the step size (the adaptive restart of O'Donoghue and Candès, 2015). Latents stay within
    `MAX_DEVIATION` standard deviations of their mean, or within the deviation of the encoder's
    guess if that is larger, so any receiver decodes them with the unchanged decoder.

    `model` is a model name or folder. `decoder` is a model of the same fingerprint that the
    receivers decode with; empty: `model`. Raises `ModelError`, and `ImportError` if torch is not
    installed.
    """

    def __init__(self, model: str = 'tinyvae', decoder: str = '', device: str = 'cpu') -> None:
        from sage_perception.models.energy import ReconstructionEnergy  # requires torch

        self.codec = load_crop_codec(model, device=device)
        decoding = artifact.read(resolve(decoder or model))
        if decoding.id.fingerprint != self.codec.id.fingerprint:
            raise artifact.ModelError(
                f'{decoding.id} does not decode the latents of {self.codec.id}: their '
                'fingerprints must be equal'
            )
        self.reconstruction_energy = ReconstructionEnergy(decoding, self.codec.device)

    def init_state(self, x: Crops | np.ndarray) -> Descent:
        """Return the state at the guess for crops, or for images `[B, C, S, S]`."""
        crops = x if isinstance(x, Crops) else Crops(x)
        log_var = None
        guess = crops.guess
        if guess is None:
            guess, log_var = self.codec.encode_stats(crops.images)
        z = self.start(crops, guess)
        energy, gradient = self.reconstruction_energy(z, crops.images)
        step_size = np.full((len(z), 1), STEP_SIZE, np.float32)
        velocity = np.zeros_like(z)
        return Descent(crops, guess, log_var, z, energy, z, energy, gradient, velocity, step_size)

    def start(self, crops: Crops, guess: np.ndarray) -> np.ndarray:
        """Return the initial latents of the descents, `[B, D]`."""
        return guess

    def step(self, state: Descent, active: np.ndarray) -> Descent:
        """Return the state after one step of the active items."""
        at = np.flatnonzero(active)
        new = state.copy()
        downhill = -state.gradient[at] @ self.reconstruction_energy.metric
        velocity = MOMENTUM * state.velocity[at] + state.step_size[at] * downhill
        z = self._clip(state.best_z[at] + velocity, state.guess[at])
        energy, gradient = self.reconstruction_energy(z, state.crops.images[at])
        lower = energy < state.best_energy[at]
        new.z[at], new.energy[at] = z, energy
        improved, failed = at[lower], at[~lower]
        new.best_z[improved], new.best_energy[improved] = z[lower], energy[lower]
        new.gradient[improved], new.velocity[improved] = gradient[lower], velocity[lower]
        new.velocity[failed] = 0
        new.step_size[failed] /= 2
        return new

    def _clip(self, z: np.ndarray, guess: np.ndarray) -> np.ndarray:
        mean, limit = self.codec.latent_mean, MAX_DEVIATION * self.codec.latent_std
        limit = np.maximum(limit, np.abs(guess - mean))
        return np.clip(z, mean - limit, mean + limit)

    def energy(self, state: Descent) -> np.ndarray:
        """Return the mean squared errors of the decoded latents, [B]."""
        return state.energy

    def output(self, state: Descent) -> np.ndarray:
        """Return the latents, float32 [B, D]."""
        return state.z

    def describe(self, state: Descent, item: int, output: Any, telemetry: Telemetry) -> Telemetry:
        """Return the telemetry with trust and error of the latent (specification, section 6.1)."""
        error = min(telemetry.energy_trajectory)
        kl = float('nan')
        if state.log_var is not None:
            kl = float(kl_per_dim(output, state.log_var[item]))
        return replace(
            telemetry,
            trust=telemetry_trust(error, kl),
            reconstruction_error=error,
            kl_per_dim=kl,
            latent_norm=float(np.linalg.norm(output)),
        )
