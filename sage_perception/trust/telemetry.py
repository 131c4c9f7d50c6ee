# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How far a latent may be trusted by what its own encoder measured of it."""

from __future__ import annotations

import math
from collections.abc import Sequence


def telemetry_trust(reconstruction_error: float, kl_per_dim: float) -> float:
    """Return the specification's trust in one latent, in [0, 1].

    Half of it is how well the latent decodes, `max(0, 1 - 10 MSE)` with pixels in [0, 1]; half how
    little it strays from the prior, `1 / (1 + KL)` with KL in nats per dimension
    (`VAE translation layer`, section 6.1). What was not measured, or is not finite, earns nothing.
    """
    decodes = 1 - 10 * reconstruction_error if reconstruction_error >= 0 else 0.0
    plain = 1 / (1 + kl_per_dim) if kl_per_dim >= 0 else 0.0
    parts = [part for part in (decodes, plain) if math.isfinite(part)]
    return sum(min(max(part, 0.0), 1.0) for part in parts) / 2


class ErrorMemory:
    """Shares the cost of measuring reconstruction errors out among frames.

    Decoding a latent to see how well it decodes costs more than encoding did, and the error of
    what a track shows changes little from frame to frame. So each track is measured when it is new
    and then once in `every` frames, a share of them in each frame; between, its last error stands.
    """

    MOST = 256  # tracks remembered

    def __init__(self, every: int):
        self.every = every
        self._errors: dict[int, float] = {}  # by track, the one measured longest ago first

    def due(self, tracks: Sequence[int]) -> list[int]:
        """Return the indices into `tracks` of those to be measured now; track 0 always is."""
        new = [i for i, track in enumerate(tracks) if not track or track not in self._errors]
        order = {track: age for age, track in enumerate(self._errors)}
        known = [i for i, track in enumerate(tracks) if track and track in order]
        known.sort(key=lambda i: order[tracks[i]])
        return sorted(new + known[: math.ceil(len(known) / self.every)])

    def note(self, tracks: Sequence[int], errors: Sequence[float]) -> None:
        """Remember what was measured."""
        for track, error in zip(tracks, errors, strict=True):
            self._errors.pop(track, None)
            if track:
                self._errors[track] = float(error)
        while len(self._errors) > self.MOST:
            del self._errors[next(iter(self._errors))]

    def last(self, track: int) -> float:
        """Return the last error of a track, NaN when it has not been measured."""
        return self._errors.get(track, math.nan)
