# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Score and recall with an episodic memory, on the schedule of `memory_node`.

The defaults are those of the parameters of `memory_node`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.memory.episodic import EpisodicMemory, Observation
from sage_perception.memory.snarc import Snarc

THRESHOLD, MIN_NOVELTY = 0.7, 0.1
AGREEMENT_WAIT_S = 0.25
"""Time that frames wait for their agreement before they are scored."""
MAX_REORDER_S = 0.5
"""A step that is earlier than its predecessor by more than this is a jump of the clock."""


@dataclass(frozen=True)
class Schedule:
    """Rates in Hz, the number of recalled LCTs, and the minimum age of a recalled record."""

    observe_rate: float = 5.0
    recall_rate: float = 1.0
    recall_count: int = 8
    min_recall_age_s: float = 10.0


@dataclass(frozen=True, eq=False)
class CameraObservation:
    """The trusted LCTs of one frame of a camera."""

    camera: str
    stamp_ns: int
    lcts: Sequence[LCT]


@dataclass(frozen=True, eq=False)
class Scores:
    """The observations of one frame."""

    camera: str
    stamp_ns: int
    observations: Sequence[Observation]

    @property
    def by_track(self) -> dict[int, Snarc]:
        """Return the SNARC scores by track id."""
        return {each.lct.latent.track_id: each.snarc for each in self.observations}


class MemoryFeed:
    """Runs an episodic memory, with the stamps of the frames as its clock.

    Call `add_frame` and `add_agreement` for each frame, and `step` after all cameras of a moment.
    After the clock jumped back, the schedule starts over.
    """

    def __init__(self, memory: EpisodicMemory, schedule: Schedule | None = None):
        self._memory, self._schedule = memory, schedule or Schedule()
        self._waiting: list[CameraObservation] = []
        self._present: dict[str, CameraObservation] = {}
        self._agreements: dict[bytes, float] = {}
        self._next_observe_s = self._next_recall_s = self._now_s = -math.inf

    def add_frame(self, camera: str, stamp_ns: int, lcts: Sequence[LCT]) -> None:
        """Add the trusted LCTs of a frame."""
        self._waiting.append(CameraObservation(camera, stamp_ns, lcts))

    def add_agreement(self, lct_id: bytes, similarity: float) -> None:
        """Add the similarity of an LCT to that of another camera; the lowest one counts."""
        self._agreements[lct_id] = min(self._agreements.get(lct_id, math.inf), similarity)

    def step(self, now_s: float) -> tuple[list[Scores], list[list[Latent]]]:
        """Return the scores and the recalls, one list for each camera, that are due."""
        scores: list[Scores] = []
        recalls: list[list[Latent]] = []
        if now_s < self._now_s - MAX_REORDER_S:
            self._next_observe_s = self._next_recall_s = now_s
            self._waiting.clear()
            self._agreements.clear()
        self._now_s = now_s
        observe_s, recall_s = 1 / self._schedule.observe_rate, 1 / self._schedule.recall_rate
        if now_s >= self._next_observe_s:
            self._next_observe_s = _next(self._next_observe_s, observe_s, now_s)
            scores = self._observe(now_s)
        if now_s >= self._next_recall_s:
            self._next_recall_s = _next(self._next_recall_s, recall_s, now_s)
            recalls = self._recall()
        return scores, recalls

    def _observe(self, now_s: float) -> list[Scores]:
        """Score the newest frame of each camera among those that have waited long enough."""
        until_ns = round((now_s - AGREEMENT_WAIT_S) * 1e9)
        ready = [f for f in self._waiting if f.stamp_ns <= until_ns]
        newest = {f.camera: f for f in ready}
        for frame in ready:
            self._memory.note_codes(frame.lcts)
        self._waiting = [f for f in self._waiting if f.stamp_ns > until_ns]
        found = []
        for camera, frame in newest.items():
            observed = self._memory.observe(frame.lcts, self._agreements)
            self._present[camera] = frame
            found.append(Scores(camera, frame.stamp_ns, observed))
        for frame in ready:  # also those that a newer one replaced, or the table would grow
            for lct in frame.lcts:
                self._agreements.pop(lct.id, None)
        return found

    def _recall(self) -> list[list[Latent]]:
        present, self._present = self._present, {}
        found = []
        for frame in present.values():
            before_ns = frame.stamp_ns - round(self._schedule.min_recall_age_s * 1e9)
            hits = self._memory.recall(frame.lcts, before_ns, self._schedule.recall_count)
            found.append([hit.record.lct.latent for hit in hits])
        return found


def _next(due_s: float, period_s: float, now_s: float) -> float:
    """Return the next time of a timer; a timer that fell behind skips the missed periods."""
    return due_s + period_s if now_s - due_s < period_s else now_s + period_s
