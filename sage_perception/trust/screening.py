# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Lets well-formed LCTs of one sender pass, and counts the others by reason."""

from __future__ import annotations

from collections import Counter

from sage_perception.trust.lct import LCT, Refusal, find_fault


class Screen:
    """Judges what one sender says."""

    def __init__(self):
        self.accepted = 0
        self.reasons: Counter[Refusal] = Counter()
        self._sequences: dict[str, int] = {}

    @property
    def refused(self) -> int:
        """Return how many were refused, for whatever reason."""
        return self.reasons.total()

    def judge(self, lct: LCT, dim: int | None = None) -> Refusal | None:
        """Return why `lct` is refused, or None when it is accepted; either is counted.

        `dim` is the number of dimensions of its model's latents, where that is known.
        """
        fault = find_fault(lct, dim)
        if fault is None and lct.sequence <= self._sequences.get(lct.entity_id, -1):
            fault = Refusal.SEQUENCE
        if fault is not None:
            self.refuse(fault)
            return fault
        self._sequences[lct.entity_id] = lct.sequence
        self.accepted += 1
        return None

    def refuse(self, reason: Refusal) -> None:
        """Count a refusal that was decided elsewhere."""
        self.reasons[reason] += 1
