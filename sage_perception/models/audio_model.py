# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of loaded models of sound, independent of the backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD, WEIGHTS, Artifact, ModelError
from sage_perception.models.loaded import LoadedModel
from sage_perception.models.softmax import softmax

TEMPERATURE = 'head.temperature'
"""Tensor of an artifact: divides the logits before the softmax."""


class AudioLatents(NamedTuple):
    """The result for a batch of spectrograms.

    Attributes:
        mean, log_var: float32 `[B, D]`; natural logarithm.
        logits: float32 `[B, W]`, of the labels.
    """

    mean: np.ndarray
    log_var: np.ndarray
    logits: np.ndarray


class AudioModel(LoadedModel):
    """A loaded model of log-mel spectrograms.

    Spectrograms are float32 `[B, 1, bands, frames]` in [0, 1], of `audio.mel.log_mel`.

    Attributes
    ----------
    id, backend, device, precision
        As of `LoadedModel`.
    labels : tuple of str
        The words of the logits; the last one stands for all other sounds.
    latent_mean, latent_std : np.ndarray
        Statistics of the latents of training words, float32 `[D]`.
    temperature : float
        Of the probabilities of the labels, fitted to held-out voices.

    """

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        labels = artifact.config.get('labels')
        if (
            not isinstance(labels, list)
            or len(labels) < 2
            or not all(isinstance(each, str) for each in labels)
        ):
            raise ModelError(f'{artifact.path}: config.labels must be a list of two words or more')
        self.labels: tuple[str, ...] = tuple(labels)
        self.latent_mean = artifact.tensor(LATENT_MEAN).astype(np.float32)
        self.latent_std = artifact.tensor(LATENT_STD).astype(np.float32)
        temperature = artifact.tensor(TEMPERATURE)
        if temperature.size != 1 or not 0.05 < temperature.item() < 20:
            raise ModelError(
                f'{artifact.path / WEIGHTS}: {TEMPERATURE} must be one number from 0.05 to 20: '
                'export the model again'
            )
        self.temperature = float(temperature.item())

    @property
    def latent_dim(self) -> int:
        """Return D, the number of dimensions of a latent."""
        return self.artifact.count('latent_dim')

    @property
    def mel_shape(self) -> tuple[int, int]:
        """Return the bands and frames of a spectrogram."""
        return self.artifact.count('bands'), self.artifact.count('frames')

    def encode(self, mel: np.ndarray) -> AudioLatents:
        """Return the latents and the logits of spectrograms `[B, 1, bands, frames]`.

        Raises `ModelError` for another shape.
        """
        expected = (1, *self.mel_shape)
        if mel.shape[1:] != expected or not len(mel):
            raise ModelError(
                f'{self.id.name} takes spectrograms of shape [B, {", ".join(map(str, expected))}],'
                f' not {list(mel.shape)}'
            )
        return self._encode(np.asarray(mel, np.float32))

    def reconstruction(self, z: np.ndarray, mel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean squared errors and R² of spectrograms decoded from latents, `[B]` both.

        R² is 0 for a spectrogram without variance, such as that of silence.
        """
        errors = np.square(self.decode(z) - mel).mean((1, 2, 3))
        variances = mel.var((1, 2, 3))
        return errors, np.where(variances > 0, 1 - errors / np.maximum(variances, 1e-9), 0.0)

    def label_logits(self, z: np.ndarray) -> np.ndarray:
        """Return the logits of latents `[B, D]`, float32 `[B, W]`, as `encode` does."""
        tensors = self.artifact.tensor
        hidden = np.maximum(z @ tensors('head.0.weight').T + tensors('head.0.bias'), 0)
        logits = hidden @ tensors('head.3.weight').T + tensors('head.3.bias')
        return logits.astype(np.float32)

    def recognize(
        self, logits: np.ndarray, words: Collection[str] = ()
    ) -> list[tuple[str, float]]:
        """Return the word of each row of logits `[B, W]`, and its probability in [0, 1].

        With `words`, the choice is among these labels and the last one, for all other sounds. The
        other labels have no probability: a sound of such a word may be taken for one of `words`.
        """
        scaled = logits.astype(np.float64) / self.temperature
        if words:
            scaled[:, ~np.isin(self.labels, [*words, self.labels[-1]])] = -np.inf
        probabilities = softmax(scaled)
        best = probabilities.argmax(1)
        return [
            (self.labels[index], float(row[index]))
            for index, row in zip(best, probabilities, strict=True)
        ]

    @abstractmethod
    def _encode(self, mel: np.ndarray) -> AudioLatents:
        """Return the result for float32 spectrograms."""

    @abstractmethod
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the spectrograms of latents `[B, D]`, float32 `[B, 1, bands, frames]`."""
