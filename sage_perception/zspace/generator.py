# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generates a resonance from the volume itself."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sage_perception.zspace.checks import ZSpaceError, number, whole_number
from sage_perception.zspace.projector import VisionProjector
from sage_perception.zspace.resonance import DifferentialResonance
from sage_perception.zspace.spiral_rnn import SpiralRnn
from sage_perception.zspace.telemetry import AtlasFrame, ChronoSummary
from sage_perception.zspace.volume import SliceProfile, ZSpaceVolume
from sage_perception.zspace.windows import MAX_DEPTH

FEATURES = 10
"""Number of features of a slice."""


class ProfileForecast(Protocol):
    """Predicts the profile of the next volume, such as `profile_predictor.ProfilePredictor`."""

    def predict(self, profile: SliceProfile) -> SliceProfile:
        """Add the profile of the present volume and return that of the next one."""

    def reset(self) -> None:
        """Forget all profiles."""


class ResonanceGenerator:
    """Generates resonance with a SpiralRnn over the slices (spec 004, generative coupling).

    Ten features of each slice are squashed to (-1, 1) and fed to the cell, slice by slice: mean,
    standard deviation, energy, relative depth, focus, share of the energy, mean energy and mean
    drift of the summary, z signal of the atlas frame, and the previous energy. With the mean b_i
    of the state after slice i,

        energy_i = abs(b_i + abs(mean_i) + std_i + E_i + (1-leak)·energy'_i + objective'_i) + .001
        objective_i = tanh(b_i + drift + E_i / ΣE - 1/D)
        homotopy_i = tanh(b_i + homotopy'_i + focus - ½)

    where ' is the previous resonance and E the mean square. Without a leak the energy grows with
    every step; with one it converges to at most the present terms divided by the leak.

    `forecast` replaces the present profile by the expected next one.
    """

    def __init__(
        self,
        name: str,
        hidden: int,
        depth: int,
        *,
        leak: float = 0.25,
        seed: int = 0,
        forecast: ProfileForecast | None = None,
    ) -> None:
        """Create a generator for volumes of `depth` slices.

        `hidden` is the size of the cell's state and `seed` its initialization; `leak` in [0, 1].
        Raises `ZSpaceError` for other values.
        """
        self.name = name
        self.depth = whole_number('depth', depth, 1, MAX_DEPTH)
        self.leak = number('leak', leak, 0, 1)
        self.rnn = SpiralRnn(FEATURES, hidden, seed)
        self.forecast = forecast

    def reset(self) -> None:
        """Forget the profiles that the forecast has seen."""
        if self.forecast is not None:
            self.forecast.reset()

    def generate(
        self,
        volume: ZSpaceVolume,
        projector: VisionProjector,
        summary: ChronoSummary | None = None,
        atlas: AtlasFrame | None = None,
        previous: DifferentialResonance | None = None,
    ) -> DifferentialResonance:
        """Return the resonance of a volume, with one value per slice.

        `previous` is the resonance of the volume before. Raises `ZSpaceError` if the volume has
        another depth.
        """
        depth = volume.depth
        if depth != self.depth:
            raise ZSpaceError(
                f'the generator {self.name} has the depth {self.depth}, the volume {depth}; '
                'interpolation turns D slices into 2·D - 1'
            )
        profile = volume.slice_profile()
        if self.forecast is not None:
            profile = self.forecast.predict(profile)
        before = previous or DifferentialResonance(*np.zeros((3, depth)))
        energy, objective, homotopy = (
            field[np.arange(depth) % field.size]
            for field in (
                before.infinity_energy,
                before.recursive_objective,
                before.homotopy_flow,
            )
        )
        summary = summary or ChronoSummary()
        share = profile.energies / max(float(profile.energies.sum()), 1e-30)
        signal = 0.5 if atlas is None or atlas.z_signal is None else atlas.z_signal
        features = np.empty((depth, FEATURES))
        features.T[:] = (
            profile.means,
            profile.stds,
            profile.energies,
            np.linspace(0, 1, depth),
            np.full(depth, projector.focus),
            share,
            np.full(depth, summary.mean_energy),
            np.full(depth, summary.mean_drift),
            np.full(depth, signal),
            energy,
        )
        base = self.rnn.states((features / (1 + abs(features)))[None])[0].mean(axis=1)
        drive = abs(profile.means) + profile.stds + profile.energies
        return DifferentialResonance(
            infinity_energy=abs(base + drive + (1 - self.leak) * energy + objective) + 1e-3,
            recursive_objective=np.tanh(base + summary.mean_drift + share - 1 / depth),
            homotopy_flow=np.tanh(base + homotopy + projector.focus - 0.5),
        )
