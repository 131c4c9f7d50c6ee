# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Nouns of tracks, from the semantic codes that arrive with some of their latents."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sage_perception.codecs.directions import unpack_direction
from sage_perception.core.track_codes import is_lost
from sage_perception.models.artifact import ModelError
from sage_perception.models.semantic.vocabulary import Label, installed_vocabulary

MAX_TRACKS = 1024
MAX_AVERAGED = 8
"""Codes after which the mean code of a track follows new ones at a constant rate."""
MIN_LENGTH = 1e-6


class MeanCode(NamedTuple):
    """The mean `[D]` of the codes of a track, and for how many codes it counts."""

    mean: np.ndarray
    weight: int

    def with_code(self, code: np.ndarray) -> MeanCode:
        """Return the mean after another code."""
        weight = min(self.weight + 1, MAX_AVERAGED)
        return MeanCode(self.mean + (code - self.mean) / weight, weight)

    @property
    def code(self) -> np.ndarray:
        """Return the mean scaled to length 1."""
        return self.mean / max(float(np.linalg.norm(self.mean)), MIN_LENGTH)


@dataclass
class _Track:
    code: MeanCode
    space: bytes
    label: Label
    seen_ns: int


class TrackLabels:
    """The label of each track; a track is named by its entity and its number.

    It is that of the mean of the codes of the track: views of an object differ in what they show.
    A number that was not seen for a while is that of another track, see `is_lost`.
    """

    def __init__(self) -> None:
        self._tracks: OrderedDict[tuple[str, int], _Track] = OrderedDict()

    def see(self, entity: str, track_ids: Iterable[int], stamp_ns: int) -> None:
        """Note the tracks of a frame, with or without codes, and forget those that are over."""
        for track_id in track_ids:
            track = self._tracks.get((entity, track_id))
            if track is None:
                continue
            if is_lost(track.seen_ns, stamp_ns):
                del self._tracks[entity, track_id]
            else:
                track.seen_ns = stamp_ns

    def add(self, entity: str, track_id: int, space: bytes, payload: bytes, stamp_ns: int) -> None:
        """Add a semantic code of a track of a frame; `space` is that of the code.

        A code of a space without an installed vocabulary, and one that cannot be read, is ignored.
        """
        if not track_id:
            return
        try:
            vocabulary = installed_vocabulary(space)
            code = unpack_direction(payload)
        except (ModelError, ValueError):
            return
        if vocabulary is None or code.size != vocabulary.codes.shape[1]:
            return
        self.see(entity, [track_id], stamp_ns)
        before = self._tracks.pop((entity, track_id), None)
        if before is None or before.space != space:
            mean = MeanCode(code, 1)
        else:
            mean = before.code.with_code(code)
        [label] = vocabulary.nearest(mean.code[None])
        self._tracks[entity, track_id] = _Track(mean, space, label, stamp_ns)
        while len(self._tracks) > MAX_TRACKS:
            self._tracks.popitem(last=False)

    def label(self, entity: str, track_id: int) -> Label | None:
        """Return the label of a track, None if it has had no code."""
        track = self._tracks.get((entity, track_id))
        return None if track is None else track.label

    def text(self, entity: str, track_id: int) -> str:
        """Return the noun with its confidence, "unknown" below the least, '' without a code."""
        label = self.label(entity, track_id)
        return '' if label is None else label.text
