# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Score and recall with an episodic memory, on the schedule of `memory_node`.

The constants are the defaults of the parameters of `memory_node`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.memory import EpisodicMemory, Snarc

THRESHOLD, MIN_NOVELTY = 0.7, 0.1
OBSERVE_RATE_HZ, RECALL_RATE_HZ = 5.0, 1.0
RECALL_COUNT = 8
MIN_RECALL_AGE_S = 10.0
AGREEMENT_WAIT_S = 0.25
"""Time that frames wait for their agreement before they are scored."""


@dataclass(frozen=True, eq=False)
class CameraObservation:
    """The trusted LCTs of one frame of a camera."""

    camera: str
    stamp_ns: int
    lcts: Sequence[LCT]


@dataclass(frozen=True, eq=False)
class Scores:
    """The SNARC scores of one frame, by track id."""

    camera: str
    stamp_ns: int
    by_track: dict[int, Snarc]


class MemoryFeed:
    """Runs an episodic memory, with the stamps of the frames as its clock.

    Call `add_frame` and `add_agreement` for each frame, and `step` after all cameras of a moment.
    """

    def __init__(self, memory: EpisodicMemory):
        self._memory = memory
        self._waiting: list[CameraObservation] = []
        self._present: dict[str, CameraObservation] = {}
        self._agreements: dict[bytes, float] = {}
        self._next_observe_s = self._next_recall_s = -math.inf

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
        if now_s >= self._next_observe_s:
            self._next_observe_s = _next(self._next_observe_s, 1 / OBSERVE_RATE_HZ, now_s)
            scores = self._observe(now_s)
        if now_s >= self._next_recall_s:
            self._next_recall_s = _next(self._next_recall_s, 1 / RECALL_RATE_HZ, now_s)
            recalls = self._recall()
        return scores, recalls

    def _observe(self, now_s: float) -> list[Scores]:
        """Score the newest frame of each camera among those that have waited long enough."""
        until_ns = round((now_s - AGREEMENT_WAIT_S) * 1e9)
        newest = {f.camera: f for f in self._waiting if f.stamp_ns <= until_ns}
        self._waiting = [f for f in self._waiting if f.stamp_ns > until_ns]
        found = []
        for camera, frame in newest.items():
            observed = self._memory.observe(frame.lcts, self._agreements)
            for lct in frame.lcts:
                self._agreements.pop(lct.id, None)
            self._present[camera] = frame
            by_track = {each.lct.latent.track_id: each.snarc for each in observed}
            found.append(Scores(camera, frame.stamp_ns, by_track))
        return found

    def _recall(self) -> list[list[Latent]]:
        present, self._present = self._present, {}
        found = []
        for frame in present.values():
            before_ns = frame.stamp_ns - round(MIN_RECALL_AGE_S * 1e9)
            hits = self._memory.recall(frame.lcts, before_ns, RECALL_COUNT)
            found.append([hit.record.lct.latent for hit in hits])
        return found


def _next(due_s: float, period_s: float, now_s: float) -> float:
    """Return the next time of a timer; a timer that fell behind skips the missed periods."""
    return due_s + period_s if now_s - due_s < period_s else now_s + period_s
