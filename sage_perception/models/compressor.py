# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of loaded compressors of H contexts, independent of the backend."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.models.artifact import CONFIG, Artifact, ModelError
from sage_perception.models.loaded import LoadedModel

SPACE_MEAN, SPACE_STD = 'latent.space.mean', 'latent.space.std'
"""Tensors of an artifact: statistics of the latents in contexts."""


class Compressor(LoadedModel):
    """A loaded model that compresses contexts into codes and decompresses them.

    Contexts are float32 `[B, 4096]` with a mask of the same shape, bool or 0 and 1, which is true
    for known values; codes are float32 `[B, 256]`. `B` may be 0. Methods accept and return numpy
    arrays; `docs/context.md` describes the layout of a context.

    Attributes
    ----------
    id, backend, device, precision
        As of `LoadedModel`.
    latents : ModelId
        The model whose latents the contexts contain.
    space_mean, space_std : np.ndarray
        Statistics of these latents, as `context.LatentSpace` expects them.
    layout : int
        Version of the layout of contexts.

    """

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        config = artifact.config
        try:
            self.latents = ModelId(str(config['encoder']), '', bytes.fromhex(config['latents']))
            self.layout = int(config['layout'])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f'{artifact.path / CONFIG}: encoder, latents or layout of config is missing or '
                f'invalid ({error}): export the model again'
            ) from error
        self.space_mean: np.ndarray = artifact.tensor(SPACE_MEAN)
        self.space_std: np.ndarray = artifact.tensor(SPACE_STD)

    @property
    def input_dim(self) -> int:
        """Return the number of dimensions of a context."""
        return self.artifact.count('input_dim')

    @property
    def code_dim(self) -> int:
        """Return the number of dimensions of a code."""
        return self.artifact.count('code_dim')

    def compress(self, context: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return the codes `[B, 256]` of contexts; without a mask all values are known.

        Masked values are ignored. Raises `ModelError` for another shape and for known values that
        are not finite.
        """
        return self.compress_stats(context, mask)[0]

    def compress_stats(
        self, context: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and log-variance of the codes, both `[B, 256]`; natural logarithm."""
        context = np.asarray(context)
        known = np.ones(context.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        if context.shape[1:] != (self.input_dim,) or known.shape != context.shape:
            raise ModelError(
                f'{self.id.name} takes contexts and masks [B, {self.input_dim}], not '
                f'{list(context.shape)} and {list(known.shape)}'
            )
        context = np.where(known, context, 0).astype(np.float32)
        if not np.isfinite(context).all():
            raise ModelError(f'{self.id.name}: a context has a known value that is not finite')
        if not len(context):  # ONNX reshapes do not support an empty batch
            empty = np.empty((0, self.code_dim), np.float32)
            return empty, empty.copy()
        mean, log_var = self._encode(context, known.astype(np.float32))
        return mean, log_var

    def decompress(self, code: np.ndarray) -> np.ndarray:
        """Return the whole contexts, float32 `[B, 4096]`, of codes `[B, 256]`.

        Values that were masked are predicted. Raises `ModelError` for another shape.
        """
        code = np.asarray(code, np.float32)
        if code.shape[1:] != (self.code_dim,):
            raise ModelError(
                f'{self.id.name} takes codes [B, {self.code_dim}], not {list(code.shape)}'
            )
        return self._decode(code) if len(code) else np.empty((0, self.input_dim), np.float32)

    @abstractmethod
    def _encode(self, context: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and log-variance of float32 contexts and masks."""

    @abstractmethod
    def _decode(self, code: np.ndarray) -> np.ndarray:
        """Return the contexts of float32 codes."""
