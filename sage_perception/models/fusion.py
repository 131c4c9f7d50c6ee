# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The fusion of words and objects on ONNX Runtime: which object of a frame a sentence means."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from sage_perception.models.artifact import ENCODER, Artifact, ModelError
from sage_perception.models.backends.onnx_backend import OnnxModel

MAX_OBJECTS = 16
"""Objects of the graph."""
POSITION_DIM = 4
"""Dimensions of a position of `puzzle.tokens`."""
INPUTS = ('objects', 'present', 'text', 'audio', 'proprioception', 'given')


class Meaning(NamedTuple):
    """What a sentence means in a frame.

    Attributes:
        fused: the fused latent, float32 `[256]`.
        weights: probability of each object, float32 `[N]`; calibrated on rendered scenes.
    """

    fused: np.ndarray
    weights: np.ndarray


class FusionModel(OnnxModel):
    """A loaded fusion network, for latents of one model of crops (`appearance_space`)."""

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        mean = artifact.tensor('encoder.token_mean').astype(np.float32)
        first, codes = artifact.count('appearance_dim'), artifact.count('semantic_dim')
        shape = (first + codes + POSITION_DIM,)
        if mean.shape != shape or shape != (artifact.count('token_dim'),):
            raise ModelError(
                f'{artifact.path}: config.token_dim is {artifact.config["token_dim"]}, the mean '
                f'token has the shape {list(mean.shape)}, and their parts {list(shape)}'
            )
        self._mean_code = mean[first : first + codes]
        temperature, space = self.config.get('temperature'), self.config.get('appearance_space')
        if not isinstance(temperature, float) or not 0.05 < temperature < 20:
            raise ModelError(f'{artifact.path}: config.temperature is {temperature!r}')
        if not isinstance(space, str) or re.fullmatch('[0-9a-f]{64}', space) is None:
            raise ModelError(f'{artifact.path}: config.appearance_space is {space!r}')
        self._temperature = temperature
        self.appearance_space = bytes.fromhex(space)
        """Fingerprint of the model of the latents of the objects."""

    def __call__(
        self,
        appearance: np.ndarray,
        position: np.ndarray,
        text: np.ndarray,
        trust: np.ndarray | None = None,
    ) -> Meaning:
        """Return the object that a sentence means, and the fused latent.

        Args:
            appearance: latents of the objects, float32 `[N, 64]`, N from 1 to `MAX_OBJECTS`.
            position: positions of the objects (`puzzle.tokens.positions`), float32 `[N, 4]`.
            text: embedding of the sentence, float32 `[384]`.
            trust: trust of the objects in [0, 1], `[N]`: a factor of their weights, before these
                are divided by their sum. Default: 1.

        Raises `ModelError` for other shapes, and for values that are not finite.

        """
        count = len(appearance)
        wanted = (count, self.artifact.count('appearance_dim')), (count, POSITION_DIM)
        if not 1 <= count <= MAX_OBJECTS or (appearance.shape, position.shape) != wanted:
            raise ModelError(
                f'{self.id.name} takes 1 to {MAX_OBJECTS} latents {wanted[0]} with positions '
                f'{wanted[1]}, not {appearance.shape} and {position.shape}'
            )
        codes = np.tile(self._mean_code, (count, 1))
        tokens = np.zeros((1, MAX_OBJECTS, self.artifact.count('token_dim')), np.float32)
        tokens[0, :count] = np.concatenate((appearance, codes, position), 1)
        present = np.zeros((1, MAX_OBJECTS), np.float32)
        present[0, :count] = 1
        if not np.isfinite(tokens).all() or not np.isfinite(text).all():
            raise ModelError(f'{self.id.name}: latents, positions and text must be finite')
        arrays = (
            tokens, present, np.asarray(text, np.float32)[None],
            np.zeros((1, self.artifact.count('audio_dim')), np.float32),
            np.zeros((1, self.artifact.count('proprioception_dim')), np.float32),
            np.array([[1, 0, 0]], np.float32),
        )  # fmt: skip
        shapes = (1, self.artifact.count('fused_dim')), (1, MAX_OBJECTS)
        fused, logits = self._run(ENCODER, dict(zip(INPUTS, arrays, strict=True)), *shapes)
        scaled = logits[0, :count] / np.float32(self._temperature)
        weights = np.exp(scaled - scaled.max())
        if trust is not None:
            weights = weights * np.asarray(trust, np.float32).clip(0, 1)
        total = weights.sum()
        weights = weights / total if total > 0 else np.zeros(count, np.float32)
        return Meaning(fused[0], weights.astype(np.float32))
