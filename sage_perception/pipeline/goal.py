# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How well the tracks of a camera fit words: the scores that return to attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sage_perception.codecs.directions import unpack_direction
from sage_perception.core.latent import Latent, LatentKind
from sage_perception.core.track_codes import TrackCodes
from sage_perception.models.artifact import ModelError
from sage_perception.models.semantic.image_codes import ImageCodes
from sage_perception.models.semantic.vocabulary import installed_vocabulary

MAX_CHARS = 1024


def goal_words(text: str) -> str:
    """Return the words of a goal in one line; raise `ValueError` for more than `MAX_CHARS`."""
    if len(text) > MAX_CHARS:
        raise ValueError(f'a goal has {len(text)} characters: at most {MAX_CHARS}')
    return ' '.join(text.split())


class Goal:
    """The present goal of one camera, and the last semantic codes of its tracks.

    `space` is the fingerprint of the space of the codes. Raises `ModelError` if it has no
    vocabulary, which makes the scores comparable.
    """

    def __init__(self, model: ImageCodes, space: bytes) -> None:
        vocabulary = installed_vocabulary(space)
        if vocabulary is None:
            raise ModelError('goals require a model of semantic codes with a vocabulary')
        self.words = ''
        self._model, self._space, self._vocabulary = model, space, vocabulary
        self._text: np.ndarray | None = None
        self._codes = TrackCodes()

    def set(self, words: str) -> None:
        """Set the words; empty ends the goal.

        Raises `ValueError` as `goal_words` does, and `ModelError` if the sentence encoder is not
        installed; the goal then stays as it is.
        """
        words = goal_words(words)
        self._text = self._model.text([words])[0] if words else None
        self.words = words

    def update(self, latents: Iterable[Latent], stamp_ns: int) -> None:
        """Keep the codes of the latents of a frame."""
        self._codes.update('', latents, stamp_ns)

    def scores(self, tracks: Iterable[int], stamp_ns: int) -> Mapping[int, float]:
        """Return the scores in [0, 1] of the tracks that have a semantic code; {} without a goal.

        See `Vocabulary.likeness`: 0.5 means that the words fit as well as any.
        """
        if self._text is None:
            return {}
        found = {}
        for track in tracks:
            for code in self._codes.of('', track, stamp_ns):
                own = code.model.fingerprint == self._space
                if own and code.kind is LatentKind.SEMANTIC:
                    found[track] = unpack_direction(code.payload)
        if not found:
            return {}
        likeness = self._vocabulary.likeness(np.stack(list(found.values())), self._text)
        return dict(zip(found, map(float, likeness), strict=True))
