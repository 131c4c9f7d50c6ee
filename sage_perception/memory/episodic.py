# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scores what is seen, remembers what is worth it, and recalls what the present is like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.core.lct import LCT, Operation, step_from
from sage_perception.memory.record import MemoryRecord
from sage_perception.memory.snarc import Scorer, Snarc
from sage_perception.memory.sql_store import Hit, Query, Store
from sage_perception.trust.security.canonical import canonical_form
from sage_perception.trust.security.rejection import MAX_CHAIN, RejectionReason, find_fault

RECALLED_PER_TRACK = 8  # looked at for each one given back: a track is recalled once


@dataclass(frozen=True, eq=False)
class Observed:
    """What became of an observation; `fault` says why one was refused, '' for none."""

    lct: LCT
    snarc: Snarc
    stored: bool
    fault: str = ''


class EpisodicMemory:
    """A store, and the judgement of what goes into it.

    Stored is what is salient, at least `threshold`, and not a second copy: of what memory holds
    its latent must differ by at least `min_novelty`, 1 − the centered cosine.
    """

    def __init__(self, store: Store, threshold: float, min_novelty: float):
        self.store = store
        self.threshold = threshold
        self.min_novelty = min_novelty
        self._scorer = Scorer(store.space.mean)

    def reward(self, value: float, stamp_ns: int) -> None:
        """Take the task's signal; see `Scorer.reward`."""
        self._scorer.reward(value, stamp_ns)

    def observe(
        self, lcts: Sequence[LCT], agreements: Mapping[bytes, float] | None = None
    ) -> list[Observed]:
        """Score the LCTs of one moment and store what is worth it.

        `agreements` says for the ids of LCTs how similar another camera's was. Raises
        `StoreFault`.
        """
        agreements = agreements or {}
        faults = [self._find_fault(lct) for lct in lcts]
        sound = [lct for lct, fault in zip(lcts, faults, strict=True) if not fault]
        novelties = iter(self._novelties(sound))
        seen, stored = [], []
        for lct, fault in zip(lcts, faults, strict=True):
            if fault:
                seen.append(Observed(lct, Snarc(), False, fault))
                continue
            novelty = float(next(novelties))
            snarc = self._scorer.score(lct, novelty, agreements.get(lct.id))
            worth = snarc.salience >= self.threshold and novelty >= self.min_novelty
            seen.append(Observed(lct, snarc, worth))
            stored += [MemoryRecord(lct, snarc)] if worth else []
        self.store.add(stored)
        return seen

    def remember(self, lct: LCT) -> bool:
        """Store an LCT because somebody asks for it: as one that was fully rewarded.

        Returns whether it is new. Raises `StoreFault`, and `ValueError` for what cannot be.
        """
        fault = self._find_fault(lct)
        if fault:
            raise ValueError(f'it cannot be remembered: {fault}')
        return bool(self.store.add([MemoryRecord(lct, Snarc(reward=1.0))]))

    def recall(self, lcts: Sequence[LCT], before_ns: int, count: int) -> list[Hit]:
        """Return the memories most like any of `lcts`, most alike first, a track once.

        Only what was seen until `before_ns`: what is in view now needs no recall.
        """
        latents = [lct.latent.mean for lct in lcts if not self._find_fault(lct)]
        if not latents or before_ns < 0:
            return []
        query = Query(until_ns=before_ns, count=count * RECALLED_PER_TRACK)
        hits = [hit for own in self.store.nearest(np.stack(latents), query) for hit in own]
        best: dict[object, Hit] = {}
        for hit in sorted(hits, key=lambda hit: -hit.similarity):
            track = hit.entry.lct.latent.track_id
            best.setdefault((hit.entry.entity, track) if track else hit.entry.lct.id, hit)
        return list(best.values())[:count]

    def _novelties(self, lcts: Sequence[LCT]) -> np.ndarray:
        """Return how new each is to memory, and to those before it in the same moment."""
        if not lcts:
            return np.empty(0)
        latents = np.stack([lct.latent.mean for lct in lcts])
        ways = self.store.space.directions(latents)
        among = np.tril(ways @ ways.T, -1) + np.triu(np.full((len(lcts),) * 2, -1.0))
        return np.minimum(self.store.novelty(latents), 1 - among.max(axis=1))

    def _find_fault(self, lct: LCT) -> str:
        """Return why an LCT can be neither remembered nor searched for, or ''."""
        space = self.store.space
        if lct.latent.model.fingerprint != space.model.fingerprint:
            return 'another model'
        fault = find_fault(lct, space.mean.size)
        if fault:
            return fault.value
        if len(lct.provenance) >= MAX_CHAIN:
            return 'chain too long'
        try:
            canonical_form(lct)
        except ValueError:
            return RejectionReason.MALFORMED.value
        return ''


def recalled(entry: MemoryRecord, entity_id: str, sequence: int) -> LCT:
    """Return a memory as an LCT of whoever recalls it.

    Latent and stamp are those of then; reading back loses nothing, so its step has trust 1.
    """
    lct = entry.lct
    step = step_from(lct, Operation.RECALL, entity_id, lct.latent.model)
    chain = (*lct.provenance, step)
    return LCT.derived(
        lct.latent, chain, entity_id=entity_id, sequence=sequence, stamp_ns=lct.stamp_ns
    )
