# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Processing of the accepted LCTs of all cameras into moments, memory records and contexts.

>>> fusion = FusionPipeline(Arbiter(['cam0', 'cam1'], codec), MemoryFeed(memory), builder)
>>> moments = fusion.add_frame('cam0', stamp_ns, (640, 480), accepted)
>>> more_moments, scores = fusion.step(now_ns)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sage_perception.context.builder import AgreementPair, ContextBuilder
from sage_perception.core.lct import LCT
from sage_perception.memory.feed import MemoryFeed, Scores
from sage_perception.trust.arbiter import Arbiter
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment


class FusionPipeline:
    """Arbiter, memory and contexts, which exchange data as the nodes of a graph do.

    Args:
        arbiter: the arbiter of the cameras.
        memory: the schedule of a memory; None for none.
        builder: the builder of contexts; None for none.
        entities: the name of each camera in the contexts, by camera; by default its own name.
        require_signatures: as the parameter of `arbiter_node`: frames without a forwarded LCT are
            not relayed.

    Attributes:
        newest_ns: stamp of the newest frame of each camera that the contexts received,
            nanoseconds.
        context_frames: number of frames that the contexts received.
    """

    def __init__(
        self,
        arbiter: Arbiter,
        memory: MemoryFeed | None = None,
        builder: ContextBuilder | None = None,
        *,
        entities: Mapping[str, str] | None = None,
        require_signatures: bool = False,
    ) -> None:
        self.arbiter = arbiter
        self.newest_ns: dict[str, int] = {}
        self.context_frames = 0
        self._memory, self._builder = memory, builder
        self._entities = entities or {}
        self._required = require_signatures

    def add_frame(
        self, camera: str, stamp_ns: int, size: tuple[int, int], accepted: Sequence[LCT]
    ) -> list[Moment]:
        """Add the accepted LCTs of a frame; return the moments that are complete with it.

        `size` is the width and height of the frame in pixels; (0, 0) if it is not known.
        """
        lcts = list(accepted)
        forwarded = lcts if self.arbiter.may_forward(camera, len(lcts)) else []
        if forwarded or not self._required:
            self._relay(camera, stamp_ns, size, forwarded)
        moments = list(self.arbiter.add_frame(camera, AcceptedFrame(stamp_ns, lcts)))
        for moment in moments:
            self._add_agreements(moment)
        return moments

    def step(self, now_ns: int) -> tuple[list[Moment], list[Scores]]:
        """Advance the clock; return the moments that waited long enough, and the new scores."""
        moments = list(self.arbiter.expire(now_ns))
        for moment in moments:
            self._add_agreements(moment)
        if self._memory is None:
            return moments, []
        scores, recalls = self._memory.step(now_ns * 1e-9)
        if self._builder is not None:
            for each in scores:
                entity = self._entities.get(each.camera, each.camera)
                self._builder.add_scores(entity, each.stamp_ns * 1e-9, each.by_track)
            for latents in recalls:
                self._builder.set_recall(latents)
        return moments, scores

    def _relay(self, camera: str, stamp_ns: int, size: tuple[int, int], lcts: list[LCT]) -> None:
        """Pass trusted LCTs to memory and to the contexts."""
        if self._memory is not None:
            self._memory.add_frame(camera, stamp_ns, lcts)
        if self._builder is not None and min(size) > 0:
            entity = self._entities.get(camera, camera)
            self._builder.add_frame(entity, stamp_ns * 1e-9, size, lcts)
            self.newest_ns[camera] = stamp_ns
            self.context_frames += 1

    def _add_agreements(self, moment: Moment) -> None:
        """Pass the matched LCTs of a moment to memory and to the contexts."""
        for pairing in moment.pairings:
            pairs = [
                AgreementPair(moment.frame.lcts[m.a].id, pairing.frame.lcts[m.b].id, m.similarity)
                for m in pairing.matches
            ]
            if self._memory is not None:
                for pair in pairs:
                    for lct_id in (pair.lct_a, pair.lct_b):
                        self._memory.add_agreement(lct_id, pair.similarity)
            if self._builder is not None:
                self._builder.add_agreement(moment.frame.stamp_ns * 1e-9, pairs)
