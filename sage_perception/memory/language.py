# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The bridge between vision and words (LanguageVisionBridge, specification 002 §8.3).

An image becomes words of a vocabulary with a color, or "unknown"; no language model invents any.
Words become memories of real crops, the best first; beside them stands the mean of their latents,
which is decoded to an image that no camera has seen, and is labeled so. Both directions keep the
provenance of the LCTs that they start from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, ModelId, Telemetry
from sage_perception.core.lct import LCT, Operation, step_from
from sage_perception.vision.color_names import color_shares, main_color

UNKNOWN = 'unknown'
MIN_SCORE = 0.3
"""Score of a noun below which an image is unknown."""
MAX_BLENDED = 5
"""Memories whose latents are averaged."""
SHARPNESS = 20.0
"""Factor of the similarities in the weights of that average."""


class Vocabulary(Protocol):
    """A model that names images and encodes texts, such as `semantic_text`."""

    id: ModelId

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes of images, float32 `[N, D]` of length 1."""

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Return the codes of texts, float32 `[N, D]` of length 1."""

    def describe(
        self, images: np.ndarray, count: int = 1
    ) -> Sequence[Sequence[tuple[str, float]]]:
        """Return the best nouns of each image with their scores in [0, 1]."""


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
        origin: `'memory'`: a crop that a camera has seen; `'decoded'`: made of several latents.
        image: uint8 RGB `[S, S, 3]`.
        similarity: cosine of the codes of the image and of the words.
        lct: its latent; that of a memory is the memory itself.
    """

    origin: Literal['memory', 'decoded']
    image: np.ndarray
    similarity: float
    lct: LCT


class LanguageVisionBridge:
    """Translates LCTs of crops to words, and words to LCTs of crops.

    Args:
        vocabulary: the model of words.
        decode: latents `[N, D]` to images, uint8 RGB `[N, S, S, 3]`.
        entity_id: the entity of the LCTs that this object makes, unsigned.
        next_sequence: returns their sequences.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        decode: Callable[[np.ndarray], np.ndarray],
        entity_id: str,
        next_sequence: Callable[[], int],
    ):
        self._vocabulary, self._decode = vocabulary, decode
        self._entity_id, self._next_sequence = entity_id, next_sequence

    def describe(self, lct: LCT) -> Description:
        """Return words for the crop of an LCT of kind VISION, and their code as an LCT."""
        image = self._decode(lct.latent.mean[None])
        noun, score = self._vocabulary.describe(image, 1)[0][0]
        known = score >= MIN_SCORE
        text = f'{main_color(color_shares(image)[0])} {noun}' if known else UNKNOWN
        confidence = float(np.clip(score, 0, 1)) if known else 0.0
        code = self._vocabulary.encode(image)[0]
        latent = Latent(
            code, None, LatentKind.SEMANTIC, self._vocabulary.id, lct.latent.roi,
            lct.latent.track_id, Telemetry(trust=confidence),
        )  # fmt: skip
        return Description(text, confidence, self._derived(lct, latent, confidence))

    def imagine_from_text(
        self, text: str, memories: Sequence[LCT], count: int = MAX_BLENDED
    ) -> list[Imagined]:
        """Return the memories that fit words best, then the image decoded from their mean.

        `memories` are LCTs of kind VISION of one model. The mean latent has the provenance of the
        best memory. Raises `ValueError` for words without letters and for `count` below 1; without
        memories nothing can be imagined, and the list is empty.
        """
        if not any(letter.isalpha() for letter in text) or count < 1:
            raise ValueError(f'{text!r} has no words, or count {count} is not positive')
        if not memories:
            return []
        z = np.stack([lct.latent.mean for lct in memories])
        images = self._decode(z)
        wanted = self._vocabulary.text([text])[0]
        cosines = self._vocabulary.encode(images) @ wanted
        best = np.argsort(-cosines, kind='stable')[:count]
        found = [
            Imagined('memory', images[i], float(cosines[i]), memories[i]) for i in best.tolist()
        ]
        blended = best[:MAX_BLENDED]
        weights = np.exp(SHARPNESS * (cosines[blended] - cosines[blended].max()))
        mean = (weights[:, None] * z[blended]).sum(0) / weights.sum()
        image = self._decode(mean[None])
        similarity = float(self._vocabulary.encode(image)[0] @ wanted)
        parent = memories[int(best[0])]
        latent = Latent(mean.astype(np.float32), None, LatentKind.VISION, parent.latent.model)
        trust = float(np.clip(similarity, 0, 1))
        made = self._derived(parent, latent, trust)
        return [*found, Imagined('decoded', image[0], similarity, made)]

    def _derived(self, parent: LCT, latent: Latent, trust: float) -> LCT:
        step = step_from(parent, Operation.TRANSLATE, self._entity_id, latent.model, trust)
        return LCT.derived(
            latent,
            (*parent.provenance, step),
            entity_id=self._entity_id,
            sequence=self._next_sequence(),
            stamp_ns=parent.stamp_ns,
        )
