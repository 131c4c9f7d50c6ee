# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of models with two codes of an image: what it shows, and which thing it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.models.artifact import ModelError
from sage_perception.models.loaded import LoadedModel

MAX_SIZE = 1024


class Codes(NamedTuple):
    """Codes of images, float32 `[B, 64]` each, of length 1."""

    semantic: np.ndarray
    identity: np.ndarray


class ImageCodes(LoadedModel, ABC):
    """A loaded model of semantic and identity codes.

    Images are float `[B, 3, H, W]` in [0, 1] or uint8 RGB `[B, H, W, 3]`, of at least 8 pixels
    a side; they are scaled to `input_size`. Methods raise `ModelError` for anything else.
    """

    cost_ms = 5.0
    """Nominal time of the codes of one crop on one thread, milliseconds."""

    @property
    @abstractmethod
    def semantic_space(self) -> bytes:
        """Return the fingerprint of the space of the semantic codes, which texts share."""

    @property
    @abstractmethod
    def identity_space(self) -> bytes:
        """Return the fingerprint of the space of the identity codes."""

    @property
    def input_size(self) -> int:
        """Return the side that images are scaled to, pixels; raise `ModelError` if too large."""
        size = self.artifact.count('img_size')
        if size > MAX_SIZE:
            raise ModelError(f'{self.artifact.path}: config.img_size is {size}, over {MAX_SIZE}')
        return size

    @abstractmethod
    def codes(self, images: np.ndarray) -> Codes:
        """Return both codes of images, from one pass of the network."""

    @abstractmethod
    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Return codes of texts, float32 `[B, 64]` of length 1, in the space of the images.

        Raises `ModelError` if the sentence encoder is not installed, and for text that is not a
        string.
        """

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the semantic codes of images, float32 `[B, 64]` of length 1."""
        return self.codes(images).semantic

    def identity(self, images: np.ndarray) -> np.ndarray:
        """Return the identity codes of images, float32 `[B, 64]` of length 1.

        The cosine of two codes is higher for two views of one thing than for two things. They do
        not compare with codes of texts.
        """
        return self.codes(images).identity
