# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models of sound on ONNX Runtime."""

from __future__ import annotations

import numpy as np

from sage_perception.models.artifact import DECODER, ENCODER, ModelError
from sage_perception.models.audio_model import AudioLatents, AudioModel
from sage_perception.models.backends.onnx_backend import OnnxModel


class OnnxAudioModel(OnnxModel, AudioModel):
    """A model of sound on ONNX Runtime."""

    def _encode(self, mel: np.ndarray) -> AudioLatents:
        latents = len(mel), self.latent_dim
        outputs = self._run(ENCODER, {'x': mel}, latents, latents, (len(mel), len(self.labels)))
        return AudioLatents(*outputs)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the spectrograms of latents `[B, D]`, float32 `[B, 1, bands, frames]`."""
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ModelError(
                f'{self.id.name} has latents of shape [B, {self.latent_dim}], not {list(z.shape)}'
            )
        return self._run(DECODER, {'z': z}, (len(z), 1, *self.mel_shape))[0]
