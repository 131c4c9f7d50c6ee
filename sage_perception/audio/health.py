# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of a microphone: silent, clipped, values that are not finite."""

from __future__ import annotations

from collections import deque

import numpy as np

SILENT_PEAK = 2e-5
"""Peak below which a window is silent: less than one step of 16 bits, which no room has."""
CLIPPED_LEVEL, CLIPPED_SHARE = 0.985, 0.002
"""Level at which a sample is clipped, and share of such samples that is a fault."""
WINDOW_BLOCKS = 20
"""Blocks of 50 ms that are considered together."""

NOT_FINITE, SILENT, CLIPPED = 'not finite', 'silent', 'clipped'


class SoundHealth:
    """Watches the blocks of a source."""

    def __init__(self) -> None:
        self._recent: deque[tuple[bool, float, float]] = deque(maxlen=WINDOW_BLOCKS)

    def add(self, samples: np.ndarray) -> str:
        """Add a block `[N, C]`; return the fault of the last second, '' for none."""
        finite = bool(np.isfinite(samples).all())
        levels = np.abs(np.nan_to_num(samples, posinf=0, neginf=0))
        peak = float(levels.max(initial=0))
        clipped = float((levels >= CLIPPED_LEVEL).mean()) if levels.size else 0.0
        self._recent.append((finite, peak, clipped))
        if not all(ok for ok, _, _ in self._recent):
            return NOT_FINITE
        if np.mean([share for _, _, share in self._recent]) > CLIPPED_SHARE:
            return CLIPPED
        full = len(self._recent) == WINDOW_BLOCKS
        if full and max(level for _, level, _ in self._recent) < SILENT_PEAK:
            return SILENT
        return ''
