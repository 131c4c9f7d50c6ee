# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Which tracks show the same thing: across cameras, robots and time, with evidence.

A track is a node, and evidence that two tracks show the same thing is a link: the log-likelihood
ratio of the cues of their crops, summed over observations. Links above `MERGE` join tracks to
things. A link whose sum falls below `SPLIT` ends, and with two tracks of one camera in the same
frame the weakest link between them ends: they cannot be one thing. Each merge and split is an
event with its evidence.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sage_perception.core.lct import LCT
from sage_perception.memory.thing_graph import Key, ThingGraph
from sage_perception.memory.thing_table import Event, TrackRow
from sage_perception.trust.fusion.comparison import Comparer, View
from sage_perception.trust.fusion.rivals import posterior

MERGE, SPLIT = 6.0, 0.0
"""Sums of log-likelihood ratios: about 400 : 1 for the same thing, and even odds."""
MAX_STEP, MAX_SUM = 3.0, 12.0
"""Bound of one observation, because successive frames repeat each other, and of a sum."""
STEP_INTERVAL_NS = 500_000_000
"""Least time between two observations of a link that count."""
MIN_REENTRY_ODDS = 1.0
"""Logarithm of the odds, about 3 : 1, that a new track shows the earlier thing that it resembles
most, and none of the others nor a new one. Of new objects of generated scenes, 4% reach it."""
VIEWS, VIEW_PERIOD_NS = 4, 500_000_000
"""Views of a track that are compared with new ones, the newest, and the time between them."""
ABSENT_NS = 1_000_000_000
"""Time after which a track that was not seen is over, for re-entry."""
MAX_TRACKS = 512
"""Tracks that are compared with new ones; the ones seen longest ago are forgotten."""
OBSERVATIONS = 3
"""Observations of a new track before it is compared with earlier ones."""


@dataclass(eq=False)
class _Track:
    key: Key
    until_ns: int
    lcts: list[LCT]
    noted_ns: int
    view: View | None = None
    observations: int = 1
    compared: bool = False
    changed: bool = True

    def note(self, lct: LCT, stamp_ns: int) -> None:
        """Keep an LCT as a view: the most trusted one of each period, with the codes that it has.

        Views without codes take those of a later one.
        """
        codes = lct.latent.codes
        if stamp_ns - self.noted_ns >= VIEW_PERIOD_NS:
            self.lcts, self.noted_ns = [*self.lcts[1 - VIEWS :], lct], stamp_ns
        elif lct.trust >= self.lcts[-1].trust:
            self.lcts[-1] = lct
        elif codes:
            self.lcts[-1] = self.lcts[-1].with_codes(codes)
        if codes:
            self.lcts = [e if e.latent.codes else e.with_codes(codes) for e in self.lcts]
        self.view = None


@dataclass(eq=False)
class _Link:
    total: float = 0.0
    observations: int = 0
    last_ns: int = -(2**62)
    because: str = ''


@dataclass
class Changes:
    """What has changed since the last time: tracks to save, and events."""

    tracks: list[TrackRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Things:
    """The things of the tracks of all cameras.

    `comparer` gives the log-likelihood ratios of crops at different times, for tracks that come
    back; without one, only agreements of cameras link tracks.

    Attributes:
        counts: number of merges, splits, and merges that were refused because both things were in
            one frame of a camera ("conflicts").
    """

    def __init__(self, comparer: Comparer | None = None) -> None:
        self.counts: Counter[str] = Counter(merges=0, splits=0, conflicts=0)
        self._comparer = comparer
        self._tracks: OrderedDict[tuple[str, int], _Track] = OrderedDict()
        self._graph = ThingGraph()
        self._links: dict[frozenset[Key], _Link] = {}
        self._apart: set[frozenset[Key]] = set()
        self._events: list[Event] = []

    def observe(self, entity: str, lcts: Sequence[LCT], stamp_ns: int) -> None:
        """Add the LCTs of a frame that `entity` observed, with the last codes of their tracks."""
        seen = []
        for lct in lcts:
            if lct.latent.track_id:
                seen.append(self._note(entity, lct, stamp_ns))
        for a, b in _pairs(seen):
            self._apart.add(frozenset((a.key, b.key)))
            self._separate(a, b, stamp_ns)
        for track in seen:
            due = track.observations >= OBSERVATIONS and not track.compared
            if due and self._comparer is not None:
                track.compared = True
                self._find_earlier(track, stamp_ns)
        self._limit()

    def contains(self, row: TrackRow) -> bool:
        """Return whether the number of a track of the store is that of a track here."""
        return (row.entity, row.track) in self._tracks

    def restore(self, row: TrackRow, lct: LCT) -> None:
        """Add a track of the store with one of its LCTs, unless its number is in use.

        It is a track of an earlier time, or of another robot that shares the store.
        """
        place = row.entity, row.track
        key = (*place, row.since_ns)
        if self.contains(row):
            return
        same = [t for t in self._tracks.values() if self._graph.thing(t.key) == row.thing]
        self._tracks[place] = _Track(
            key, row.until_ns, [lct], row.until_ns, compared=True, changed=False
        )
        self._tracks.move_to_end(place, last=False)
        self._graph.set_thing(key, row.thing)
        if same:
            self._links[frozenset((key, same[0].key))] = _Link(MERGE, because='stored')
            self._graph.connect(key, same[0].key)
        self._limit()

    def add_agreement(
        self, a: tuple[str, int], b: tuple[str, int], log_ratio: float, stamp_ns: int
    ) -> None:
        """Add the evidence of one moment that two tracks, each an entity and a number, are one.

        Unknown tracks, and evidence that is not finite, have no effect.
        """
        first, second = self._tracks.get(a), self._tracks.get(b)
        if first is None or second is None or not np.isfinite(log_ratio):
            return
        self._add(first, second, log_ratio, stamp_ns, 'cameras agree')

    def thing(self, entity: str, track: int) -> int:
        """Return the thing of a track, 0 for an unknown track."""
        found = self._tracks.get((entity, track))
        return 0 if found is None else self._graph.thing(found.key)

    def take(self) -> Changes:
        """Return what has changed since the last call."""
        changed = [track for track in self._tracks.values() if track.changed]
        rows = []
        for track in changed:
            track.changed = False
            rows.append(self._row(track))
        events, self._events = self._events, []
        return Changes(rows, events)

    def _row(self, track: _Track) -> TrackRow:
        entity, number, since_ns = track.key
        return TrackRow(entity, number, since_ns, track.until_ns, self._graph.thing(track.key))

    def _note(self, entity: str, lct: LCT, stamp_ns: int) -> _Track:
        place = entity, lct.latent.track_id
        track = self._tracks.pop(place, None)
        if track is not None and not 0 <= stamp_ns - track.until_ns <= 60 * ABSENT_NS:
            # The number of a track may be used again after a restart.
            self._forget(track.key)
            track = None
        if track is None:
            track = _Track((*place, stamp_ns), stamp_ns, [lct], stamp_ns)
        else:
            track.until_ns, track.changed = stamp_ns, True
            track.observations += 1
            track.note(lct, stamp_ns)
        self._tracks[place] = track
        return track

    def _find_earlier(self, track: _Track, stamp_ns: int) -> None:
        """Link a new track to the earlier thing that it resembles most, if it is clear which."""
        others = [o for o in self._tracks.values() if o.until_ns < stamp_ns - ABSENT_NS]
        if not others:
            return
        ratios = self._compare(track, others)
        by_thing: dict[int, tuple[float, _Track]] = {}
        for ratio, other in zip(ratios, others, strict=True):
            thing = self._graph.thing(other.key)
            if ratio > by_thing.get(thing, (-np.inf, other))[0]:
                by_thing[thing] = ratio, other
        if not by_thing:
            return
        best = np.array([ratio for ratio, _ in by_thing.values()])
        odds = posterior(best[None])[0] - np.log((1 + len(best)) / 2)
        index = int(odds.argmax())
        if odds[index] >= MIN_REENTRY_ODDS:
            other = list(by_thing.values())[index][1]
            because = f'looks like track {other.key[1]} of {other.key[0]}, the best of '
            because += f'{len(best)} earlier things, {np.exp(min(odds[index], MERGE)):.0f} : 1'
            self._add(track, other, MERGE, stamp_ns, because, once=True)

    def _compare(self, track: _Track, others: Sequence[_Track]) -> list[float]:
        """Return the log-likelihood ratio of a track with the best view of each of the others."""
        assert self._comparer is not None
        own = self._comparer.view(track.key[0], track.lcts[-1:])
        joined = View.joined([self._view(each) for each in others])
        log_ratio = self._comparer.compare(own, joined).log_ratio
        if log_ratio is None:
            return [-np.inf] * len(others)
        firsts = np.cumsum([0, *(len(each.lcts) for each in others[:-1])])
        best: list[float] = np.maximum.reduceat(log_ratio[0], firsts).tolist()
        return best

    def _view(self, track: _Track) -> View:
        if track.view is None:
            assert self._comparer is not None
            track.view = self._comparer.view(track.key[0], track.lcts)
        return track.view

    def _add(
        self,
        a: _Track,
        b: _Track,
        log_ratio: float,
        stamp_ns: int,
        because: str,
        once: bool = False,
    ) -> None:
        """Add evidence to a link, and merge or split if it decides."""
        pair = frozenset((a.key, b.key))
        if len(pair) < 2:
            return
        link = self._links.setdefault(pair, _Link())
        if not once and stamp_ns - link.last_ns < STEP_INTERVAL_NS:
            return
        bound = MAX_SUM if once else MAX_STEP
        step = float(np.clip(log_ratio, -bound, bound))
        link.total = float(np.clip(link.total + step, -MAX_SUM, MAX_SUM))
        link.last_ns, link.because = stamp_ns, because
        link.observations += 1
        active = self._graph.are_connected(a.key, b.key)
        if active and link.total <= SPLIT:
            self._cut(pair, stamp_ns, 'the cameras no longer agree')
        elif not active and link.total >= MERGE:
            self._join(pair, stamp_ns)

    def _join(self, pair: frozenset[Key], stamp_ns: int) -> None:
        a, b = sorted(pair)
        link, graph = self._links[pair], self._graph
        ours, theirs = graph.component(a), graph.component(b)
        if a in theirs:
            graph.connect(a, b)
            return
        if any(frozenset((x, y)) in self._apart for x in ours for y in theirs):
            self.counts['conflicts'] += 1
            link.total = min(link.total, 0.5 * MERGE)
            return
        own, other = graph.thing(a), graph.thing(b)
        graph.connect(a, b)
        self.counts['merges'] += 1
        self._changed(ours | theirs)
        kept = graph.thing(a)
        self._events.append(
            Event(
                stamp_ns,
                'merge',
                kept,
                other if kept == own else own,
                link.total,
                f'{_name(a)} and {_name(b)}: {link.because}, {link.observations} observations',
            )
        )

    def _cut(self, pair: frozenset[Key], stamp_ns: int, because: str) -> None:
        a, b = sorted(pair)
        link, graph = self._links[pair], self._graph
        before = graph.thing(a)
        graph.disconnect(a, b)
        ours, theirs = graph.component(a), graph.component(b)
        if b in ours:
            return
        self.counts['splits'] += 1
        left = b if graph.thing(a) == before else a
        self._changed(ours | theirs)
        self._events.append(
            Event(
                stamp_ns,
                'split',
                before,
                graph.thing(left),
                link.total,
                f'{_name(a)} and {_name(b)}: {because}',
            )
        )

    def _separate(self, a: _Track, b: _Track, stamp_ns: int) -> None:
        """End links until two tracks that are in one frame are of different things."""
        while b.key in self._graph.component(a.key):
            path = self._graph.path(a.key, b.key)
            weakest = min(path, key=lambda pair: self._links[pair].total)
            self._links[weakest].total = min(self._links[weakest].total, SPLIT)
            self._cut(weakest, stamp_ns, f'{_name(a.key)} and {_name(b.key)} are in one frame')

    def _changed(self, keys: Iterable[Key]) -> None:
        wanted = set(keys)
        for track in self._tracks.values():
            track.changed |= track.key in wanted

    def _limit(self) -> None:
        """Forget the tracks above `MAX_TRACKS` that were seen longest ago."""
        while len(self._tracks) > MAX_TRACKS:
            _, track = self._tracks.popitem(last=False)
            self._forget(track.key)

    def _forget(self, key: Key) -> None:
        """Forget a track that is no longer in `_tracks`; the numbers of things stay."""
        for pair in self._graph.remove(key):
            link = self._links.setdefault(pair, _Link(MERGE))
            link.because = link.because or f'both were linked to {_name(key)}'
        self._links = {p: link for p, link in self._links.items() if key not in p}
        self._apart = {pair for pair in self._apart if key not in pair}


def _pairs(tracks: Sequence[_Track]) -> Iterable[tuple[_Track, _Track]]:
    for index, track in enumerate(tracks):
        for other in tracks[:index]:
            if other.key != track.key:
                yield other, track


def _name(key: Key) -> str:
    return f'track {key[1]} of {key[0]}'
