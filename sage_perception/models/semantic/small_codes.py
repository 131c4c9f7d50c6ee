# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models of the family `codes`: one small network gives both codes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sage_perception.models.artifact import ENCODER, Artifact, ModelError
from sage_perception.models.backends.onnx_backend import MAX_BATCH, OnnxModel
from sage_perception.models.registry import load_semantic
from sage_perception.models.semantic.backbone import to_input
from sage_perception.models.semantic.image_codes import Codes, ImageCodes


class SmallCodes(OnnxModel, ImageCodes):
    """A network of codes on ONNX Runtime, which needs no other package for images.

    Texts are encoded by `semantic_text`, whose semantic codes the network learned.
    """

    cost_ms = 0.5

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        space = artifact.config.get('space')
        try:
            self._space = bytes.fromhex(space if isinstance(space, str) else '-')
        except ValueError:
            raise ModelError(
                f'{artifact.path}: config.space is {space!r}, not hexadecimal'
            ) from None

    @property
    def semantic_space(self) -> bytes:
        """Return the fingerprint of the model that the network learned from."""
        return self._space

    @property
    def identity_space(self) -> bytes:
        """Return the fingerprint of this model."""
        return self.id.fingerprint

    def codes(self, images: np.ndarray) -> Codes:
        """Return both codes of images, from one pass of the network."""
        dims = self.artifact.count('code_dim'), self.artifact.count('semantic_dim')
        images, parts = np.asarray(images), []
        count = len(images) if images.ndim == 4 else 0
        for first in range(0, max(count, 1), MAX_BATCH):
            some = images[first : first + MAX_BATCH] if count else images
            x = to_input(some, self.input_size)
            parts.append(self._run(ENCODER, {'x': x}, *((len(x), dim) for dim in dims)))
        identity, semantic = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Codes(semantic, identity)

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Return codes of texts, float32 `[B, 64]` of length 1, of `semantic_text`.

        Raises `ModelError` if this network learned from another one, and as `semantic_text` does.
        """
        return self._texts.text(texts)

    @cached_property
    def _texts(self) -> ImageCodes:
        model = load_semantic()
        if model.semantic_space != self._space:
            raise ModelError(
                f'{self.id} has semantic codes of the space {self._space.hex()[:8]}, {model.id} '
                f'has {model.semantic_space.hex()[:8]}: install the models again'
            )
        return model
