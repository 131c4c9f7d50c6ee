# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The published ids of tracks: a track that comes back keeps the id that it had.

Attention tracks by geometry and starts a new track for an object that was hidden or left the
image. A new track takes the id of a track that was lost shortly before if both look like one
thing, and if the object can have moved there in the meantime. An object that comes back is often
seen in part at first, so a new track is compared during its first moments, and its id may change
once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sage_perception.core.latent import Latent, Roi
from sage_perception.core.lct import LCT
from sage_perception.core.track_ids import MAX_ID
from sage_perception.trust.fusion.comparison import FittedComparer, View

MAX_TRACKS = 256
MIN_LEAD = 1.0
"""Log-likelihood ratio by which the best lost track must exceed the next one."""
MAX_SPEED = 4.0
"""Distance that a lost object can move in a second, in its sides, besides one side."""
UNDECIDED_NS = 700_000_000
"""Age up to which the id of a new track may change."""
VIEWS, VIEW_PERIOD_NS = 4, 300_000_000
"""Latents of a track that are kept for comparison, and the time between them."""


@dataclass(eq=False)
class _Track:
    published: int
    born_ns: int
    seen_ns: int
    roi: Roi | None
    linked: bool = False
    latents: list[Latent] = field(default_factory=list)
    view: View | None = None
    view_ns: int = -(2**62)

    def note(self, latent: Latent, stamp_ns: int) -> None:
        """Keep a latent of the track, if the last one was kept long enough ago."""
        self.roi, self.seen_ns = latent.roi, stamp_ns
        if stamp_ns - self.view_ns >= VIEW_PERIOD_NS:
            self.view_ns, self.view = stamp_ns, None
            self.latents = [*self.latents[1 - VIEWS :], latent]


class TrackLinker:
    """Publishes the ids of the tracks of one camera; use one instance for each camera.

    `comparer` compares latents; `max_gap_s` is the longest time for which a track may be lost,
    seconds.

    Attributes:
        linked: number of tracks that got the id of an earlier one.
    """

    def __init__(self, comparer: FittedComparer, max_gap_s: float) -> None:
        self.linked = 0
        self._comparer, self._max_gap_ns = comparer, round(max_gap_s * 1e9)
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._next_id = 0

    def link(self, latents: Sequence[Latent], stamp_ns: int) -> list[int]:
        """Return the published ids of the latents of a frame, 0 for those without a track."""
        present = {latent.track_id for latent in latents}
        taken = {t.published for key, t in self._tracks.items() if key in present}
        return [self._link(latent, stamp_ns, taken) for latent in latents]

    def _link(self, latent: Latent, stamp_ns: int, taken: set[int]) -> int:
        """Return the published id of a latent, and add it to those that are `taken`."""
        if not latent.track_id:
            return 0
        track = self._tracks.pop(latent.track_id, None)
        if track is None:
            track = _Track(0, stamp_ns, stamp_ns, latent.roi)
        if not track.linked and 0 <= stamp_ns - track.born_ns <= UNDECIDED_NS:
            lost = self._find_lost(latent, track, stamp_ns, taken)
            if lost:
                track.published, track.linked = lost, True
        if not track.published:
            track.published = self._own_id(latent, taken)
        taken.add(track.published)
        track.note(latent, stamp_ns)
        self._tracks[latent.track_id] = track
        while len(self._tracks) > MAX_TRACKS:
            self._tracks.popitem(last=False)
        return track.published

    def _find_lost(self, latent: Latent, new: _Track, stamp_ns: int, taken: set[int]) -> int:
        """Return the published id of the lost track that a new one continues, 0 for none."""
        lost = {
            key: track
            for key, track in self._tracks.items()
            if track.published not in taken
            and track.seen_ns < new.born_ns
            and stamp_ns - track.seen_ns <= self._max_gap_ns
            and _reachable(track.roi, latent.roi, (stamp_ns - track.seen_ns) * 1e-9)
        }
        if not lost:
            return 0
        own = self._view([latent])
        scored = []
        for key, track in lost.items():
            track.view = track.view or self._view(track.latents)
            comparison = self._comparer.compare(own, track.view)
            assert comparison.log_ratio is not None
            best = int(comparison.log_ratio[0].argmax())
            ratio, margin = comparison.log_ratio[0, best], comparison.margin[0, best]
            scored.append((float(ratio), float(margin), key))
        scored.sort(reverse=True)
        ratio, margin, key = scored[0]
        clear = len(scored) == 1 or ratio - scored[1][0] >= MIN_LEAD
        if margin <= 0 or not clear:
            return 0
        self.linked += 1
        # Attention may still continue the lost track, which is then another one.
        return self._tracks.pop(key).published

    def _own_id(self, latent: Latent, taken: set[int]) -> int:
        """Return the id of attention for a new track, or another one if a link has taken it."""
        if latent.track_id not in taken | {track.published for track in self._tracks.values()}:
            return latent.track_id
        # Far from the ids of attention, which counts up.
        self._next_id = (self._next_id or latent.track_id + 2**31) % MAX_ID + 1
        return self._next_id

    def _view(self, latents: Sequence[Latent]) -> View:
        # Codes of tracks are not compared: a new track seldom has one.
        plain = [replace(latent, codes=(), track_id=0) for latent in latents]
        return self._comparer.view(
            '', [LCT.encoded(each, entity_id='', sequence=0, stamp_ns=0) for each in plain]
        )


def _reachable(before: Roi | None, after: Roi | None, gap_s: float) -> bool:
    """Return whether an object can have moved from one region to another in a time, seconds."""
    if before is None or after is None:
        return True
    side = max(before.width, before.height, after.width, after.height)
    distance = float(np.hypot(*np.subtract(before.center, after.center)))
    return distance <= side * (1 + MAX_SPEED * gap_s)
