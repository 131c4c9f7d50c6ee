# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The bridge between vision and words (LanguageVisionBridge, specification 002 §8.3).

A memory becomes words of a vocabulary with a color, or "unknown"; no language model invents any.
Words become memories of real crops, the best first; beside them stands the mean of their latents,
which is decoded to an image that no camera has captured, and is labeled so. Both directions keep
the provenance of the LCTs that they start from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, Telemetry
from sage_perception.core.lct import LCT, Operation, step_from
from sage_perception.memory.query import Hit, Query
from sage_perception.memory.sql_store import MemoryStore
from sage_perception.memory.words import (
    Found,
    WordSearch,
    decoded,
    decoded_latents,
    rank_by_words,
)
from sage_perception.models.codec import Codec
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE
from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.models.semantic.vocabulary import UNKNOWN
from sage_perception.vision.color_names import color_shares, main_color

MAX_BLENDED = 5
"""Memories whose latents are averaged."""
SHARPNESS = 20.0
"""Factor of the similarities in the weights of that average."""


@dataclass(frozen=True, eq=False)
class Description:
    """Words for an image: `text` is "color noun" or `UNKNOWN`, `confidence` in [0, 1]."""

    text: str
    confidence: float
    lct: LCT


@dataclass(frozen=True, eq=False)
class Imagined:
    """An image for words.

    Attributes:
        origin: `'memory'`: a crop that a camera has captured; `'decoded'`: made of several
            latents.
        image: uint8 RGB `[S, S, 3]`.
        similarity: that of the search by words for a memory; the score of
            `memory.words.rank_by_words` for a decoded image.
        lct: its latent; that of a memory is the memory itself.
    """

    origin: Literal['memory', 'decoded']
    image: np.ndarray
    similarity: float
    lct: LCT


class LanguageVisionBridge:
    """Translates memories to words, and words to memories.

    Args:
        vocabulary: the model that names images and encodes words.
        codec: decodes the latents; memories of other models are left out.
        entity_id: the entity of the LCTs that this object makes, unsigned.
        next_sequence: returns their sequences.
    """

    def __init__(
        self,
        vocabulary: SemanticText,
        codec: Codec,
        entity_id: str,
        next_sequence: Callable[[], int],
    ):
        self._vocabulary, self._codec = vocabulary, codec
        self._entity_id, self._next_sequence = entity_id, next_sequence

    def describe(self, lct: LCT) -> Description:
        """Return words for the crop of an LCT of kind VISION, and their code as an LCT."""
        image = decoded_latents([lct.latent.mean], self._codec)
        noun, score = self._vocabulary.describe(image, 1)[0][0]
        known = score >= MIN_CONFIDENCE
        text = f'{main_color(color_shares(image)[0])} {noun}' if known else UNKNOWN
        confidence = float(np.clip(score, 0, 1)) if known else 0.0
        code = self._vocabulary.encode(image)[0]
        latent = Latent(
            code, None, LatentKind.SEMANTIC, self._vocabulary.id, lct.latent.roi,
            lct.latent.track_id, Telemetry(trust=confidence),
        )  # fmt: skip
        return Description(text, confidence, self._derived(lct, latent, confidence))

    def imagine_from_text(
        self, text: str, store: MemoryStore, query: Query
    ) -> tuple[list[Imagined], Found]:
        """Return the memories that fit words best, then the image decoded from their mean.

        The memories are those that `WordSearch` finds with the filters of `query`; the search is
        returned too. The mean latent has the provenance of the best memory; its trust is the
        similarity of its image, limited to [0, 1]. Without memories nothing can be imagined, and
        the list is empty. Raises `ValueError` for words without letters, and as `WordSearch`.
        """
        if not any(letter.isalpha() for letter in text):
            raise ValueError(f'{text!r} has no words: give a noun, such as "a red car"')
        found = WordSearch(self._vocabulary, self._codec, text).search(store, query)
        own = self._codec.id.fingerprint
        hits = [hit for hit in found.hits if hit.record.lct.latent.model.fingerprint == own]
        if not hits:
            return [], found
        memories = [
            Imagined('memory', image, hit.similarity, hit.record.lct)
            for hit, image in zip(hits, decoded(hits, self._codec), strict=True)
        ]
        return [*memories, self._blend(text, hits[:MAX_BLENDED])], found

    def _blend(self, text: str, hits: Sequence[Hit]) -> Imagined:
        """Return the image of the mean of the latents of hits, the best first."""
        similarity = np.array([hit.similarity for hit in hits])
        weights = np.exp(SHARPNESS * (similarity - similarity.max()))
        z = np.stack([hit.record.lct.latent.mean for hit in hits])
        mean = ((weights[:, None] * z).sum(0) / weights.sum()).astype(np.float32)
        image = decoded_latents([mean], self._codec)
        codes = self._vocabulary.encode(image)
        score = float(rank_by_words(self._vocabulary, text, codes, image)[0])
        parent = hits[0].record.lct
        latent = Latent(mean, None, LatentKind.VISION, parent.latent.model)
        made = self._derived(parent, latent, float(np.clip(score, 0, 1)))
        return Imagined('decoded', image[0], score, made)

    def _derived(self, parent: LCT, latent: Latent, trust: float) -> LCT:
        step = step_from(parent, Operation.TRANSLATE, self._entity_id, latent.model, trust)
        return LCT.derived(
            latent,
            (*parent.provenance, step),
            entity_id=self._entity_id,
            sequence=self._next_sequence(),
            stamp_ns=parent.stamp_ns,
        )
