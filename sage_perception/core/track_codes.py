# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The last codes of tracks, which arrive with only some of the latents of a track."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from sage_perception.core.latent import Code, Latent, LatentKind

MAX_TRACKS = 1024
LOST_NS = 2_000_000_000
"""Time without a latent, nanoseconds, after which a number may be that of another track: attention
counts from 1 again when it starts. Unchanged latents are sent every second."""
MAX_AGE_S = 60.0
"""Age above which a code is not used: the number of a track may be used again after a restart."""
CARRIED = (LatentKind.IDENTITY, LatentKind.SEMANTIC)
"""Kinds of codes that are kept; a track has one code of each."""


def is_lost(seen_ns: int, stamp_ns: int) -> bool:
    """Return whether a track that was seen last at `seen_ns` is over at `stamp_ns`.

    Stamps that jump back are those of another recording.
    """
    return abs(stamp_ns - seen_ns) > LOST_NS


class TrackCodes:
    """The last code of each kind of each track; `max_tracks` bounds the tracks that are kept."""

    def __init__(self, max_tracks: int = MAX_TRACKS) -> None:
        self._max = max_tracks
        self._tracks: OrderedDict[tuple[str, int], dict[LatentKind, tuple[int, Code]]] = (
            OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._tracks)

    def update(self, entity: str, latents: Iterable[Latent], stamp_ns: int) -> None:
        """Keep the codes of the latents of a frame that `entity` observed."""
        for latent in latents:
            if not latent.track_id:
                continue
            for code in latent.codes:
                if code.kind in CARRIED:
                    self._keep((entity, latent.track_id), code, stamp_ns)

    def of(self, entity: str, track_id: int, stamp_ns: int) -> tuple[Code, ...]:
        """Return the codes of a track at a time; those older than `MAX_AGE_S` are left out."""
        kept = self._tracks.get((entity, track_id), {})
        limit_ns = round(MAX_AGE_S * 1e9)
        return tuple(code for at, code in kept.values() if abs(stamp_ns - at) <= limit_ns)

    def _keep(self, key: tuple[str, int], code: Code, stamp_ns: int) -> None:
        kept = self._tracks.pop(key, {})
        self._tracks[key] = {**kept, code.kind: (stamp_ns, code)}
        while len(self._tracks) > self._max:
            self._tracks.popitem(last=False)
