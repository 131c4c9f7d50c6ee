# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the conduct of an entity has earned it: slow to earn, quick to lose, never for good."""

from __future__ import annotations


class Reputation:
    """A number in [FLOOR, 1] that follows the evidence, and whether the entity is suspect.

    Good evidence raises it by a small share of what is missing, bad evidence lowers it by a large
    share of the difference: 30 frames a second take 11 s from `START` to 0.9, two bad ones undo
    that. Below `SUSPECT` the entity is suspect until it has earned `CLEARED` again, so that one at
    the border does not come and go with every frame.
    """

    START = 0.5
    FLOOR = 0.05
    GAIN = 0.005
    LOSS = 0.25
    SUSPECT, CLEARED = 0.3, 0.45

    def __init__(self):
        self.value = self.START
        self.suspect = False

    def note(self, evidence: float) -> None:
        """Take account of one more piece of evidence, from 0 (bad) to 1 (good).

        Anything else, NaN too, is bad.
        """
        evidence = evidence if 0 <= evidence <= 1 else 0.0
        share = self.GAIN if evidence > self.value else self.LOSS
        self.value = max(self.value + share * (evidence - self.value), self.FLOOR)
        self.suspect = self.value < (self.CLEARED if self.suspect else self.SUSPECT)
