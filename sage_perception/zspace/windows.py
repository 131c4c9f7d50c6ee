# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Spectral windows: fixed weights of the slices of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sage_perception.zspace.checks import ZSpaceError, normalized, number, whole_number

MAX_DEPTH = 4096
"""Maximum number of slices of a volume."""

Shape = Literal['rectangular', 'hann', 'hamming', 'blackman', 'gaussian']
# Coefficients a of Σ (-1)^k a_k cos(2πkn / (D-1)) (Harris, On the use of windows, 1978).
_COSINES: dict[str, tuple[float, ...]] = {
    'rectangular': (1.0,),
    'hann': (0.5, 0.5),
    'hamming': (0.54, 0.46),
    'blackman': (0.42, 0.5, 0.08),
}


@dataclass(frozen=True)
class SpectralWindow:
    """A symmetric window over the depth of a volume (spec 004, Spectral Z-attention).

    `shape` is the kind of window. `sigma`, at least 0.001, is the width of a Gaussian window: its
    standard deviation is sigma · ((D - 1) / 2 + 1) slices. Raises `ZSpaceError` for others.
    """

    shape: Shape = 'hann'
    sigma: float = 0.4

    def __post_init__(self) -> None:
        if self.shape not in (*_COSINES, 'gaussian'):
            raise ZSpaceError(
                f'window {self.shape!r} is unknown; use one of {", ".join(_COSINES)}, gaussian'
            )
        number('sigma', self.sigma, 1e-3)

    @classmethod
    def rectangular(cls) -> SpectralWindow:
        """Return the window with equal weights."""
        return cls('rectangular')

    @classmethod
    def hann(cls) -> SpectralWindow:
        """Return the Hann window, whose first and last weights are 0 for D ≥ 3."""
        return cls('hann')

    @classmethod
    def hamming(cls) -> SpectralWindow:
        """Return the Hamming window."""
        return cls('hamming')

    @classmethod
    def blackman(cls) -> SpectralWindow:
        """Return the Blackman window, whose first and last weights are 0 for D ≥ 3."""
        return cls('blackman')

    @classmethod
    def gaussian(cls, sigma: float = 0.4) -> SpectralWindow:
        """Return the Gaussian window of width `sigma`."""
        return cls('gaussian', sigma)

    def weights(self, depth: int) -> np.ndarray:
        """Return the weights of `depth` slices, float64 `[D]`, none below 0, with the sum 1.

        Raises `ZSpaceError` for a depth outside 1 to `MAX_DEPTH`.
        """
        whole_number('depth', depth, 1, MAX_DEPTH)
        if depth == 1:
            return np.ones(1)
        if self.shape == 'gaussian':
            half = (depth - 1) / 2
            offset = (np.arange(depth) - half) / (self.sigma * (half + 1))
            return normalized(np.exp(-0.5 * offset**2))
        phase = 2 * np.pi * np.arange(depth) / (depth - 1)
        terms = [(-1) ** k * a * np.cos(k * phase) for k, a in enumerate(_COSINES[self.shape])]
        # Rounding leaves values of about -1e-17 at the ends of a Blackman window.
        return normalized(np.maximum(np.sum(terms, axis=0), 0))
