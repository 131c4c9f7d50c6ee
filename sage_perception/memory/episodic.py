# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Episodic memory: score observations, store the salient ones, recall similar ones."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Code
from sage_perception.core.lct import LCT, Operation, step_from
from sage_perception.core.track_codes import TrackCodes
from sage_perception.memory.query import Hit, Query
from sage_perception.memory.record import MemoryRecord
from sage_perception.memory.row import check_record
from sage_perception.memory.snarc import Scorer, Snarc
from sage_perception.memory.sql_store import MemoryStore
from sage_perception.memory.things import Things
from sage_perception.trust.fusion.comparison import Comparer
from sage_perception.trust.security.limits import MAX_CHAIN
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.validation import find_fault

RESTORED_TRACKS = 256
HITS_PER_RESULT = 8  # searched for each recalled record, because a track is recalled once


@dataclass(frozen=True, eq=False)
class Observation:
    """The scores of an observed LCT, and whether it was stored.

    `rejection` is the reason why an invalid LCT was neither scored nor stored, else ''.
    """

    lct: LCT
    snarc: Snarc
    stored: bool
    rejection: str = ''


class EpisodicMemory:
    """A store, and the rule for adding observations to it.

    An observation is stored if its salience is at least `threshold` and its novelty, 1 − the
    centered cosine to the nearest record, is at least `min_novelty`. `comparer` compares crops
    for things that come back; see `Things`.
    """

    def __init__(
        self,
        store: MemoryStore,
        threshold: float,
        min_novelty: float,
        comparer: Comparer | None = None,
    ) -> None:
        self.store = store
        self.things = Things(comparer)
        self._codes = TrackCodes()
        self.threshold = threshold
        self.min_novelty = min_novelty
        self._scorer = Scorer(store.space.mean)

    def reward(self, value: float, stamp_ns: int) -> None:
        """Set the reward of the task; see `Scorer.reward`."""
        self._scorer.reward(value, stamp_ns)

    def sound(self, arousal: float, stamp_ns: int) -> None:
        """Set the arousal of a sound; see `Scorer.sound`."""
        self._scorer.sound(arousal, stamp_ns)

    def note_codes(self, lcts: Sequence[LCT]) -> None:
        """Keep the codes of the LCTs of a frame, also for recent records of their tracks.

        Raises `StoreError`.
        """
        for lct in lcts:
            latent, entity = lct.latent, observer_of(lct)
            self._codes.update(entity, [latent], lct.stamp_ns)
            if latent.codes and latent.track_id:
                began_ns = self._codes.began_ns(entity, latent.track_id)
                self.store.attach_codes(
                    entity, latent.track_id, latent.codes, lct.stamp_ns, began_ns
                )

    def restore_things(self) -> None:
        """Take the things of the store, also those of other robots. Raises `StoreError`."""
        for row, record in self.store.known_tracks(RESTORED_TRACKS, self.things.contains):
            self.things.restore(row, record.lct)

    def save_things(self) -> None:
        """Save what has changed. Raises `StoreError`."""
        changes = self.things.take()
        if changes.tracks or changes.events:
            self.store.save_things(changes.tracks, changes.events)

    def observe(
        self, lcts: Sequence[LCT], agreements: Mapping[bytes, float] | None = None
    ) -> list[Observation]:
        """Score the LCTs of one frame and store the salient and novel ones.

        `agreements` maps LCT IDs to the similarity of the matching latent of another camera.
        Raises `StoreError`.
        """
        agreements = agreements or {}
        self.note_codes(lcts)
        rejections = [self._find_rejection(lct) for lct in lcts]
        valid = [lct for lct, reason in zip(lcts, rejections, strict=True) if not reason]
        novelties = iter(self._novelties(valid))
        observations, records = [], []
        for lct, reason in zip(lcts, rejections, strict=True):
            if reason:
                observations.append(Observation(lct, Snarc(), False, reason))
                continue
            novelty = float(next(novelties))
            snarc = self._scorer.score(lct, novelty, agreements.get(lct.id))
            stored = snarc.salience >= self.threshold and novelty >= self.min_novelty
            observations.append(Observation(lct, snarc, stored))
            if stored:
                records.append(MemoryRecord(lct, snarc, self._codes_of(lct)))
        self.store.add(records)
        if valid:
            coded = [self._with_codes(lct) for lct in valid]
            self.things.observe(observer_of(valid[0]), coded, valid[0].stamp_ns)
        return observations

    def _codes_of(self, lct: LCT) -> tuple[Code, ...]:
        """Return the last codes of the track of an LCT."""
        return self._codes.of(observer_of(lct), lct.latent.track_id, lct.stamp_ns)

    def _with_codes(self, lct: LCT) -> LCT:
        """Return an LCT with the last codes of its track, for a comparison."""
        return lct.with_codes(self._codes_of(lct))

    def remember(self, lct: LCT) -> bool:
        """Store an LCT on request, with reward 1; return whether it is new.

        Raises `ValueError` for an invalid LCT, and `StoreError`.
        """
        reason = self._find_rejection(lct)
        if reason:
            raise ValueError(f'cannot remember the LCT: {reason}')
        return bool(self.store.add([MemoryRecord(lct, Snarc(reward=1.0))]))

    def recall(self, lcts: Sequence[LCT], before_ns: int, count: int) -> list[Hit]:
        """Return the `count` records most similar to any of `lcts`, the most similar first.

        A track is recalled once. `before_ns` is the latest stamp of a recalled record: it excludes
        objects that are still in view. Raises `StoreError`.
        """
        latents = [lct.latent.mean for lct in lcts if not self._find_rejection(lct)]
        if not latents or before_ns < 0:
            return []
        query = Query(until_ns=before_ns, count=count * HITS_PER_RESULT)
        found = [hit for hits in self.store.nearest(np.stack(latents), query) for hit in hits]
        best: dict[Hashable, Hit] = {}
        for hit in sorted(found, key=lambda hit: -hit.similarity):
            lct = hit.record.lct
            track = lct.latent.track_id
            best.setdefault((hit.record.entity, track) if track else lct.id, hit)
        return list(best.values())[:count]

    def _novelties(self, lcts: Sequence[LCT]) -> np.ndarray:
        """Return the novelty of each LCT against the store and the preceding LCTs, `[N]`."""
        if not lcts:
            return np.empty(0)
        latents = np.stack([lct.latent.mean for lct in lcts])
        directions = self.store.space.directions(latents)
        # Row i has the cosines to latents before i, and -1 elsewhere.
        outside = np.triu(np.full((len(lcts), len(lcts)), -1.0))
        cosines = np.tril(directions @ directions.T, -1) + outside
        return np.minimum(self.store.novelty(latents), 1 - cosines.max(axis=1))

    def _find_rejection(self, lct: LCT) -> str:
        """Return the reason why an LCT cannot be stored or searched for, or ''."""
        space = self.store.space
        if lct.latent.model.fingerprint != space.model.fingerprint:
            return 'another model'
        fault = find_fault(lct, space.dim)
        if fault is not None:
            return fault.value
        if len(lct.provenance) >= MAX_CHAIN:
            return 'chain too long'
        try:
            check_record(MemoryRecord(lct, Snarc()))
        except ValueError:
            return RejectionReason.MALFORMED.value
        return ''


def observer_of(lct: LCT) -> str:
    """Return the entity that observed an LCT: that of the first provenance step."""
    return lct.provenance[0].entity_id if lct.provenance else lct.entity_id


def recalled_lct(record: MemoryRecord, entity_id: str, sequence: int) -> LCT:
    """Return a record as an LCT of the entity that recalls it.

    Latent and stamp are those of the record. The RECALL step has trust 1, because reading back is
    lossless.
    """
    lct = record.lct
    step = step_from(lct, Operation.RECALL, entity_id, lct.latent.model)
    return LCT.derived(
        lct.latent,
        (*lct.provenance, step),
        entity_id=entity_id,
        sequence=sequence,
        stamp_ns=lct.stamp_ns,
    )
