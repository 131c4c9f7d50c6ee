# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What every loaded compressor of H contexts can do, whatever computes it."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.models.artifact import Artifact, ModelError
from sage_perception.models.loaded import LoadedModel

SPACE_MEAN, SPACE_STD = 'latent.space.mean', 'latent.space.std'
"""Tensors of an artifact: statistics of the latents that contexts are made of."""


class Compressor(LoadedModel):
    """A loaded model that turns contexts into codes and back.

    Contexts are float32 `[B, 4096]` with a mask of the same shape, bool or 0 and 1, that tells
    what is known; codes are float32 `[B, 256]`. `B` may be anything, 0 included. Takes and returns
    numpy arrays; `docs/context.md` has the layout of a context.

    Attributes
    ----------
    id, backend, device, precision
        As of every `LoadedModel`.
    latents : ModelId
        The model whose latents the contexts are made of; `space_mean` and `space_std` are their
        statistics, which `context.LatentSpace` wants.
    layout : int
        Version of the layout of the contexts.

    """

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        self.latents = ModelId(
            artifact.config['encoder'], '', bytes.fromhex(artifact.config['latents'])
        )
        self.space_mean: np.ndarray = artifact.tensors[SPACE_MEAN]
        self.space_std: np.ndarray = artifact.tensors[SPACE_STD]
        self.layout: int = artifact.config['layout']

    @property
    def input_dim(self) -> int:
        """Return the numbers of a context."""
        return self.artifact.config['input_dim']

    @property
    def code_dim(self) -> int:
        """Return the numbers of a code."""
        return self.artifact.config['code_dim']

    def compress(self, context: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return the codes `[B, 256]` of contexts; without a mask all of them is known.

        What is masked does not matter, whatever it is. Raises `ModelError` for another shape and
        for known numbers that are not finite.
        """
        return self.compress_stats(context, mask)[0]

    def compress_stats(
        self, context: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and natural logarithm of the variance of the codes, both `[B, 256]`."""
        context = np.asarray(context)
        known = np.ones(context.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        if context.shape[1:] != (self.input_dim,) or known.shape != context.shape:
            raise ModelError(
                f'{self.id.name} takes contexts and masks [B, {self.input_dim}], not '
                f'{list(context.shape)} and {list(known.shape)}'
            )
        context = np.where(known, context, 0).astype(np.float32)
        if not np.isfinite(context).all():
            raise ModelError(f'{self.id.name}: a context has a known number that is not finite')
        if not len(context):  # which the reshapes of a graph do not take
            none = np.empty((0, self.code_dim), np.float32)
            return none, none.copy()
        mean, log_var = self._encode(context, known.astype(np.float32))
        return mean, log_var

    def decompress(self, code: np.ndarray) -> np.ndarray:
        """Return what codes `[B, 256]` say of whole contexts, float32 `[B, 4096]`.

        What was masked comes back as what is usual there. Raises `ModelError` for another shape.
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
        """Return contexts of float32 codes."""
