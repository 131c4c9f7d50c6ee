# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rank images by words: a noun by its semantic code, a color word by the colors of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from sage_perception.memory.query import Hit
from sage_perception.models.codec import Codec
from sage_perception.vision.color_names import COLORS, color_shares, split_color
from sage_perception.vision.crops import to_pixels

COLOR_WEIGHT = 1.0
"""Weight of the share of a color relative to the cosine of a noun."""


class TextModel(Protocol):
    """A model that encodes images and texts, such as `semantic_text`."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes of images, float32 `[N, D]` of length 1."""

    def text(self, texts: list[str]) -> np.ndarray:
        """Return the codes of texts, float32 `[N, D]` of length 1."""


def rank_by_words(
    model: TextModel, text: str, codes: np.ndarray, images: np.ndarray
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


def rank_hits(hits: Sequence[Hit], codec: Codec, model: TextModel, text: str) -> list[Hit]:
    """Return the hits whose latents are of `codec`, those that fit a text best first.

    The latents are decoded, and the images are compared with the text (`rank_by_words`). The
    similarity of a hit is its score; the similarity to an image that it already has is added.
    """
    own = [
        hit for hit in hits
        if hit.record.lct.latent.model.fingerprint == codec.id.fingerprint
    ]  # fmt: skip
    if not own:
        return []
    z = np.stack([hit.record.lct.latent.mean for hit in own])
    images = to_pixels(codec.decode(z.reshape(-1, *codec.latent_shape)))
    images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
    scores = rank_by_words(model, text, model.encode(images), images)
    scores = scores + [0.0 if math.isnan(hit.similarity) else hit.similarity for hit in own]
    return [
        replace(own[i], similarity=float(scores[i])) for i in np.argsort(-scores, kind='stable')
    ]
