# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rank images by words: a noun by its semantic code, a color word by the colors of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import LatentKind
from sage_perception.memory.query import MAX_HITS, Basis, Hit, Query
from sage_perception.memory.space import Space
from sage_perception.memory.sql_store import MemoryStore
from sage_perception.models.codec import Codec
from sage_perception.models.semantic.image_codes import ImageCodes
from sage_perception.vision.color_names import COLORS, color_shares, split_color
from sage_perception.vision.crops import to_pixels

COLOR_WEIGHT = 1.0
"""Weight of the share of a color relative to the cosine of a noun."""


def rank_by_words(
    model: ImageCodes, text: str, codes: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Return how well images fit a text, float32 `[N]`, higher is better.

    `codes` `[N, D]` are the semantic codes of `images`, uint8 RGB `[N, H, W, 3]`. The score is the
    cosine of the codes; with a color word, the square root of the share of that color is added
    with the weight `COLOR_WEIGHT`, and the word is removed from the text.
    """
    color, noun = split_color(text)
    cosines = codes @ model.text([noun])[0]
    if color is None:
        return cosines
    shares = color_shares(images)[:, COLORS.index(color)]
    return cosines + np.float32(COLOR_WEIGHT) * np.sqrt(shares)


class Found(NamedTuple):
    """The hits of a search by words, the best first.

    `by_codes` tells whether their stored codes were compared with the words, and otherwise their
    decoded latents. `compared` records were, and `without_code` records have no code.
    """

    hits: list[Hit]
    by_codes: bool
    compared: int
    without_code: int = 0


@dataclass(frozen=True, eq=False)
class WordSearch:
    """A search by words.

    `codec` decodes latents: for the colors of words such as "a red car", and for records without
    codes. At most `max_decoded` of these are compared, the newest ones: each takes 5 ms.

    `encode` and `rank` run models, `collect` reads the store: a node that shares its store with
    other work runs the former in another thread.
    """

    model: ImageCodes
    codec: Codec
    text: str
    max_decoded: int = MAX_HITS

    def search(self, store: MemoryStore, query: Query) -> Found:
        """Return the records that match the filters of a query and fit the text best.

        There are at most `query.count`. With `query.like`, the similarity to that latent is added.
        Records with a stored semantic code are compared by it; decoded latents are compared only
        if no record that matches has one. Raises `StoreError`, `ModelError` and `ValueError`.
        """
        return self.rank(self.collect(store, query, self.encode()), query, store.space)

    def encode(self) -> np.ndarray:
        """Return the semantic code `[C]` of the noun. Raises `ModelError`."""
        return self.model.text([split_color(self.text)[1]])[0]

    def collect(self, store: MemoryStore, query: Query, code: np.ndarray) -> Found:
        """Return the records to rank; `code` is that of `encode`. Raises `StoreError`."""
        # A color or a latent changes the order: then more than the best codes are compared.
        color, _ = split_color(self.text)
        count = query.count if color is None and query.like is None else MAX_HITS
        wide = replace(query, count=count, like=None)
        kind = int(LatentKind.SEMANTIC)
        hits, compared = store.nearest_codes(wide, code, self.model.semantic_space, kind)
        if hits:
            return Found(hits, True, compared, store.count(query) - compared)
        plain = store.find(replace(query, count=self.max_decoded))
        return Found(plain, False, len(plain), store.count(query))

    def rank(self, found: Found, query: Query, space: Space) -> Found:
        """Return the best of the records that `collect` found, in order; `space` is theirs.

        Raises `ModelError` and `ValueError`.
        """
        hits = found.hits
        if not found.by_codes:
            ranked = rank_hits(hits, self.codec, self.model, self.text)
            return found._replace(hits=ranked[: query.count], compared=len(ranked))
        scores = np.array([hit.similarity for hit in hits])
        color, _ = split_color(self.text)
        if color is not None:
            scores = scores + COLOR_WEIGHT * np.sqrt(self._color(hits, color))
        if query.like is not None:
            scores = scores + self._likeness(space, hits, query.like)
        order = np.argsort(-scores, kind='stable')[: query.count]
        best = [replace(hits[i], similarity=float(scores[i])) for i in order]
        return found._replace(hits=best)

    def _color(self, hits: Sequence[Hit], color: str) -> np.ndarray:
        """Return the share of a color in the images of hits, 0 for latents of another model."""
        own = self.codec.id.fingerprint
        known = [i for i, hit in enumerate(hits) if _model(hit) == own]
        shares = np.zeros(len(hits))
        if known:
            images = decoded([hits[i] for i in known], self.codec)
            shares[known] = color_shares(images)[:, COLORS.index(color)]
        return shares

    @staticmethod
    def _likeness(space: Space, hits: Sequence[Hit], like: np.ndarray) -> np.ndarray:
        """Return the similarity of the latents of hits to a latent, 0 for another model."""
        direction = space.directions(np.asarray(like)[None])[0]
        found = np.zeros(len(hits))
        for i, hit in enumerate(hits):
            if _model(hit) == space.model.fingerprint:
                found[i] = space.directions(hit.record.lct.latent.mean[None])[0] @ direction
        return found


def rank_hits(hits: Sequence[Hit], codec: Codec, model: ImageCodes, text: str) -> list[Hit]:
    """Return the hits whose latents are of `codec`, those that fit a text best first.

    The latents are decoded, and the images are compared with the text (`rank_by_words`). The
    similarity of a hit is its score; the similarity to an image that it already has is added.
    """
    own = [hit for hit in hits if _model(hit) == codec.id.fingerprint]
    if not own:
        return []
    images = decoded(own, codec)
    scores = rank_by_words(model, text, model.encode(images), images)
    scores = scores + [0.0 if math.isnan(hit.similarity) else hit.similarity for hit in own]
    return [
        replace(own[i], similarity=float(scores[i]), basis=Basis.DECODED)
        for i in np.argsort(-scores, kind='stable')
    ]


def _model(hit: Hit) -> bytes:
    return hit.record.lct.latent.model.fingerprint


def decoded(hits: Sequence[Hit], codec: Codec) -> np.ndarray:
    """Return the decoded latents of hits, uint8 RGB `[N, S, S, 3]`; all are of `codec`."""
    return decoded_latents([hit.record.lct.latent.mean for hit in hits], codec)


def decoded_latents(means: Sequence[np.ndarray], codec: Codec) -> np.ndarray:
    """Return the images of latents `[D]`, uint8 RGB `[N, S, S, 3]`, also those of gray models."""
    images = to_pixels(codec.decode(np.stack(means).reshape(-1, *codec.latent_shape)))
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
