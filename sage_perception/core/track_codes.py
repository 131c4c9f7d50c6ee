# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The last codes of tracks, which arrive with only some of the latents of a track."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sage_perception.core.latent import Code, Latent, LatentKind

MAX_TRACKS = 1024
LOST_NS = 2_000_000_000
"""Time without a latent, nanoseconds, after which a track is over: the bags of two recordings can
have the same numbers. Unchanged latents are sent every second."""
MAX_AGE_S = 60.0
"""Age above which a code is not used: what it describes may have changed."""
CARRIED = (LatentKind.IDENTITY, LatentKind.SEMANTIC)
"""Kinds of codes that are kept; a track has one code of each."""


def is_lost(seen_ns: int, stamp_ns: int) -> bool:
    """Return whether a track that was seen last at `seen_ns` is over at `stamp_ns`.

    Stamps that jump back are those of another recording.
    """
    return abs(stamp_ns - seen_ns) > LOST_NS


@dataclass
class _Track:
    began_ns: int
    seen_ns: int
    codes: dict[LatentKind, tuple[int, Code]] = field(default_factory=dict)


class TrackCodes:
    """The last code of each kind of each track; `max_tracks` bounds the tracks that are kept.

    The codes of a track end with it, see `is_lost`: its number may then be that of another one.
    """

    def __init__(self, max_tracks: int = MAX_TRACKS) -> None:
        self._max = max_tracks
        self._tracks: OrderedDict[tuple[str, int], _Track] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tracks)

    def update(self, entity: str, latents: Iterable[Latent], stamp_ns: int) -> None:
        """Keep the codes of the latents of a frame that `entity` observed.

        Give the latents without codes, too: they show that their tracks are not lost.
        """
        for latent in latents:
            if not latent.track_id:
                continue
            key = entity, latent.track_id
            track = self._tracks.pop(key, None)
            if track is None or is_lost(track.seen_ns, stamp_ns):
                track = _Track(stamp_ns, stamp_ns)
            track.seen_ns = stamp_ns
            track.codes |= {c.kind: (stamp_ns, c) for c in latent.codes if c.kind in CARRIED}
            self._tracks[key] = track
            while len(self._tracks) > self._max:
                self._tracks.popitem(last=False)

    def of(self, entity: str, track_id: int, stamp_ns: int) -> tuple[Code, ...]:
        """Return the codes of a track at a time; those older than `MAX_AGE_S` are left out."""
        track = self._tracks.get((entity, track_id))
        if track is None or is_lost(track.seen_ns, stamp_ns):
            return ()
        limit_ns = round(MAX_AGE_S * 1e9)
        return tuple(code for at, code in track.codes.values() if abs(stamp_ns - at) <= limit_ns)

    def began_ns(self, entity: str, track_id: int) -> int | None:
        """Return the stamp of the first latent of a track, None for one that is not kept."""
        track = self._tracks.get((entity, track_id))
        return None if track is None else track.began_ns
