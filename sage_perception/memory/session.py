# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A long-running episodic memory: it reopens a failed store, and counts its work for diagnostics.

A full disk or a lost server must not end a robot's memory node. While the store is not available,
observations are dropped, requests raise `StoreError`, and `maintain` tries to open it again.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from sage_perception.core.lct import LCT
from sage_perception.memory.episodic import EpisodicMemory, Observation, observer_of
from sage_perception.memory.opening import CAPACITY, HALF_LIFE_S, open_store
from sage_perception.memory.query import Hit, Query
from sage_perception.memory.space import Space
from sage_perception.memory.sql_store import StoreError
from sage_perception.memory.words import Found, WordSearch
from sage_perception.trust.fusion.comparison import Comparer

REOPEN_PERIOD_S = 5.0
RESTORE_PERIOD_S = 30.0
"""Period at which the things of other robots with the same store are read, seconds."""
MAX_AGREEMENTS = 1024

T = TypeVar('T')


class Logger(Protocol):
    """The methods of an rclpy or a `logging` logger that a session calls."""

    def info(self, message: str, /) -> object:
        """Log at level INFO."""

    def warning(self, message: str, /) -> object:
        """Log at level WARNING."""

    def error(self, message: str, /) -> object:
        """Log at level ERROR."""


@dataclass(frozen=True)
class SessionConfig:
    """The store of a session, and the thresholds for storing observations.

    `url` is that of `open_store`. See `EpisodicMemory` for `threshold`, `min_novelty` and
    `comparer`.
    """

    url: str | Path
    capacity: int = CAPACITY
    half_life_s: float = HALF_LIFE_S
    threshold: float = 0.7
    min_novelty: float = 0.1
    reopen_period_s: float = REOPEN_PERIOD_S
    comparer: Comparer | None = None


class MemorySession:
    """An `EpisodicMemory` that outlives failures of its store.

    Opens the store and reads its index; raises `StoreError` if that fails the first time.

    Attributes
    ----------
    store_name : str
        File or URL of the store for messages, without a password.
    fault : str
        The reason why the store is not available, or '' while it is.
    counts : Counter[str]
        LCTs observed, stored, forgotten and recalled since the start.
    records, size_bytes : int
        Size of the store at the last commit.

    """

    def __init__(
        self,
        config: SessionConfig,
        space: Space,
        logger: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._space = space
        self._logger = logger
        self._clock = clock
        self._threshold, self._min_novelty = config.threshold, config.min_novelty
        self._agreements: OrderedDict[bytes, float] = OrderedDict()
        self._pairs: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()
        self._observed: OrderedDict[bytes, tuple[str, int, int]] = OrderedDict()
        self._failed_at = self._restored_at = 0.0
        self._reported: set[int] = set()  # unreadable rows
        self.fault = ''
        self.counts = Counter(observed=0, stored=0, forgotten=0, recalled=0)
        self.records, self.size_bytes = 0, 0
        self._memory: EpisodicMemory | None = self._open()
        self.store_name = str(self._memory.store)
        self._report_unreadable()

    @property
    def unreadable(self) -> int:
        """Return the number of rows of the open store that were skipped; see `MemoryStore`."""
        return len(self._memory.store.unreadable) if self._memory is not None else 0

    def set_thresholds(self, threshold: float, min_novelty: float) -> None:
        """Set the thresholds of `EpisodicMemory`."""
        self._threshold, self._min_novelty = threshold, min_novelty
        if self._memory is not None:
            self._memory.threshold, self._memory.min_novelty = threshold, min_novelty

    def add_agreement(
        self, lct_ids: tuple[bytes, bytes], similarity: float, log_ratio: float = math.nan
    ) -> None:
        """Record the similarity of matching LCTs of different cameras.

        The lowest of several similarities of an LCT counts. `log_ratio`, the log-likelihood ratio
        that they show one thing, is evidence for `Things`; NaN: none. The `MAX_AGREEMENTS` newest
        are kept.
        """
        if math.isfinite(log_ratio):
            self._pairs[lct_ids] = log_ratio
            while len(self._pairs) > MAX_AGREEMENTS:
                self._pairs.popitem(last=False)
        for lct_id in lct_ids:
            known = self._agreements.pop(lct_id, math.inf)
            self._agreements[lct_id] = min(known, similarity)
        while len(self._agreements) > MAX_AGREEMENTS:
            self._agreements.popitem(last=False)

    def reward(self, value: float, stamp_ns: int) -> None:
        """Set the reward of the task; see `Scorer.reward`."""
        if self._memory is not None:
            self._memory.reward(value, stamp_ns)

    def sound(self, arousal: float, stamp_ns: int) -> None:
        """Set the arousal of a sound; see `Scorer.sound`."""
        if self._memory is not None:
            self._memory.sound(arousal, stamp_ns)

    def note_codes(self, lcts: Sequence[LCT]) -> None:
        """Keep the codes of the LCTs of a frame that is not observed."""
        self._attempt(lambda memory: memory.note_codes(lcts))

    def observe(self, lcts: Sequence[LCT]) -> list[Observation] | None:
        """Score and store the LCTs of a frame; return None if the store is not available."""
        observations = self._attempt(lambda memory: memory.observe(lcts, self._agreements))
        if observations is not None:
            self.counts['observed'] += len(observations)
            self.counts['stored'] += sum(each.stored for each in observations)
            self._link(observations)
        return observations

    def _link(self, observations: Sequence[Observation]) -> None:
        """Pass the agreements of LCTs that were both observed on to the things."""
        assert self._memory is not None
        for each in observations:
            lct = each.lct
            place = observer_of(lct), lct.latent.track_id, lct.stamp_ns
            self._observed[lct.id] = place
        while len(self._observed) > MAX_AGREEMENTS:
            self._observed.popitem(last=False)
        for ids in [ids for ids in self._pairs if all(i in self._observed for i in ids)]:
            log_ratio = self._pairs.pop(ids)
            (entity_a, track_a, stamp_ns), (entity_b, track_b, _) = (
                self._observed[i] for i in ids
            )
            self._memory.things.add_agreement(
                (entity_a, track_a), (entity_b, track_b), log_ratio, stamp_ns
            )

    def recall(self, lcts: Sequence[LCT], before_ns: int, count: int) -> list[Hit] | None:
        """Return similar records; None if the store is not available. See `EpisodicMemory`."""
        hits = self._attempt(lambda memory: memory.recall(lcts, before_ns, count))
        if hits is not None:
            self.counts['recalled'] += len(hits)
        return hits

    def find(self, query: Query) -> list[Hit]:
        """Return the records that match a query. Raises `StoreError` and `ValueError`."""
        return self._request(lambda memory: memory.store.with_things(memory.store.find(query)))

    def collect(self, query: Query, words: WordSearch, code: np.ndarray) -> Found:
        """Return what `words.rank` ranks; see `WordSearch.collect`. Raises as `find` does."""
        return self._request(lambda memory: words.collect(memory.store, query, code))

    def with_things(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits with the things that they show. Raises as `find` does."""
        return self._request(lambda memory: memory.store.with_things(hits))

    @property
    def thing_counts(self) -> dict[str, int]:
        """Return the number of merges, splits and conflicts since the store was opened."""
        return {} if self._memory is None else dict(self._memory.things.counts)

    def remember(self, lct: LCT) -> bool:
        """Store an LCT on request; return whether it is new. Raises as `find` does."""
        new = self._request(lambda memory: memory.remember(lct))
        self.counts['stored'] += new
        return new

    def forget(self, query: Query) -> int:
        """Delete the records that match a query; return how many. Raises as `find` does."""
        forgotten = self._request(lambda memory: memory.store.forget(query))
        self.counts['forgotten'] += forgotten
        return forgotten

    def maintain(self) -> None:
        """Commit, or try to open a failed store again. Call it periodically."""
        if self._memory is None:
            self._reopen()
            return
        self._attempt(lambda memory: memory.save_things())
        if self._clock() - self._restored_at >= RESTORE_PERIOD_S:
            self._restored_at = self._clock()
            self._attempt(lambda memory: memory.restore_things())
        result = self._attempt(lambda memory: memory.store.commit())
        if result is not None:
            self.records, self.size_bytes = result.records, result.size_bytes
            self.counts['forgotten'] += result.forgotten

    def close(self) -> None:
        """Commit and close the store."""
        if self._memory is None:
            return
        self._attempt(lambda memory: memory.save_things())
        self._attempt(lambda memory: memory.store.commit())
        if self._memory is not None:
            self._memory.store.close()
            self._memory = None

    def _open(self) -> EpisodicMemory:
        config = self._config
        store = open_store(
            config.url, self._space, capacity=config.capacity, half_life_s=config.half_life_s
        )
        try:
            store.novelty(self._space.mean[None])  # builds the index now, not at the first frame
            memory = EpisodicMemory(
                store, self._threshold, self._min_novelty, self._config.comparer
            )
            memory.restore_things()
            self._restored_at = self._clock()
        except BaseException:
            store.close()
            raise
        return memory

    def _reopen(self) -> None:
        if not self.fault or self._clock() - self._failed_at < self._config.reopen_period_s:
            return
        try:
            self._memory = self._open()
        except StoreError as error:
            self.fault, self._failed_at = str(error), self._clock()
        else:
            self.fault = ''
            self._reported.clear()
            # The name, not the URL of the configuration, which may contain a password.
            self._logger.info(f'{self.store_name} is open again')
            self._report_unreadable()

    def _attempt(self, work: Callable[[EpisodicMemory], T]) -> T | None:
        """Return the result of `work`, or None if the store fails or is not available."""
        if self._memory is None:
            return None
        try:
            return self._request(work)
        except StoreError:
            return None

    def _request(self, work: Callable[[EpisodicMemory], T]) -> T:
        """Return the result of `work`. Raises `StoreError` if the store fails or is not open."""
        if self._memory is None:
            raise StoreError(self.fault)
        try:
            result = work(self._memory)
        except StoreError as error:
            self._give_up(error)
            raise
        self._report_unreadable()
        return result

    def _give_up(self, error: StoreError) -> None:
        period_s = self._config.reopen_period_s
        self._logger.error(f'{error}; the memory retries every {period_s:g} s')
        self.fault, self._failed_at = str(error), self._clock()
        if self._memory is not None:
            self._memory.store.close()
            self._memory = None

    def _report_unreadable(self) -> None:
        """Log each unreadable row once."""
        if self._memory is None:
            return
        unreadable = self._memory.store.unreadable
        if len(unreadable) == len(self._reported):
            return
        rows = [row_id for row_id in unreadable if row_id not in self._reported]
        self._reported.update(rows)
        self._logger.warning(
            f'{self.store_name}: skipped rows that are damaged or of a later version: {len(rows)} '
            f'(row {rows[0]}: {unreadable[rows[0]]})'
        )
