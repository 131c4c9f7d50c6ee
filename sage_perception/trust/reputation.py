# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reputation of an entity: rises slowly, falls quickly, and can always recover."""

from __future__ import annotations


class Reputation:
    """A value in [MIN, 1] that follows the evidence, and a suspect flag with hysteresis.

    Good evidence raises the value by a small share of the distance, bad evidence lowers it by a
    large one: at 30 frames per second it takes 11 s from `START` to 0.9, and two bad frames undo
    that. The entity is suspect from below `SUSPECT` until it reaches `CLEARED`, so that the flag
    does not change with every frame.
    """

    START = 0.5
    MIN = 0.05
    GAIN = 0.005
    LOSS = 0.25
    SUSPECT, CLEARED = 0.3, 0.45

    def __init__(self) -> None:
        self.value = self.START
        self.suspect = False

    def update(self, evidence: float) -> None:
        """Take account of evidence in [0, 1], from bad to good; any other value counts as 0."""
        evidence = evidence if 0 <= evidence <= 1 else 0.0
        share = self.GAIN if evidence > self.value else self.LOSS
        self.value = max(self.value + share * (evidence - self.value), self.MIN)
        self.suspect = self.value < (self.CLEARED if self.suspect else self.SUSPECT)
