# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Nouns of tracks, from the semantic codes that arrive with some of their latents."""

from __future__ import annotations

from collections import OrderedDict

from sage_perception.codecs.directions import unpack_direction
from sage_perception.models.artifact import ModelError
from sage_perception.models.semantic.vocabulary import Label, installed_vocabulary

MAX_TRACKS = 1024


class TrackLabels:
    """The last label of each track; a track is named by its entity and its number."""

    def __init__(self) -> None:
        self._labels: OrderedDict[tuple[str, int], Label] = OrderedDict()

    def add(self, entity: str, track_id: int, space: bytes, payload: bytes) -> None:
        """Set the label of a track from its semantic code; `space` is that of the code.

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
        self._labels.pop((entity, track_id), None)
        self._labels[entity, track_id] = vocabulary.nearest(code[None])[0]
        while len(self._labels) > MAX_TRACKS:
            self._labels.popitem(last=False)

    def label(self, entity: str, track_id: int) -> Label | None:
        """Return the label of a track, None if it has had no code."""
        return self._labels.get((entity, track_id))

    def text(self, entity: str, track_id: int) -> str:
        """Return the noun with its confidence, "unknown" below the least, '' without a code."""
        label = self.label(entity, track_id)
        return '' if label is None else label.text
