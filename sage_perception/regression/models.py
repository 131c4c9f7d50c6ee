# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The models of a graph, loaded once each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sage_perception import models
from sage_perception.models.semantic.image_codes import ImageCodes
from sage_perception.pipeline.code_encoder import CodeEncoder
from sage_perception.pipeline.code_models import code_model_of, kinds_of, load_code_model
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.ros.encoder_models import build_encoder, code_policy


class ModelCache:
    """Loads each model once; cameras share it, and each has its own encoder."""

    def __init__(self) -> None:
        self._codecs: dict[tuple[str, ...], models.Codec] = {}
        self._code_models: dict[str, ImageCodes] = {}

    def codec(
        self, model: str, backend: str = 'auto', device: str = 'auto', precision: str = 'fp32'
    ) -> models.Codec:
        """Return a model of crops; raises as `models.load_crop_codec` does."""
        key = model, backend, device, precision
        if key not in self._codecs:
            codec = models.load_crop_codec(model, backend, device, precision)
            shape = 1, codec.input_channels, codec.input_size, codec.input_size
            # Networks are loaded on first use, and cameras run in threads.
            codec.decode(codec.encode_stats(np.zeros(shape, np.float32))[0])
            self._codecs[key] = codec
        return self._codecs[key]

    def encoder(self, parameters: Mapping[str, Any]) -> CropEncoder:
        """Return an encoder with the parameters of `encoder_node`.

        Raises `ModelError` and `ValueError` for a model or an encoding that cannot be used.
        """
        names = 'model', 'backend', 'device', 'precision'
        codec = self.codec(*(parameters[name] for name in names))
        return build_encoder(parameters, codec, self._codes(parameters, codec))

    def _codes(self, parameters: Mapping[str, Any], codec: models.Codec) -> CodeEncoder | None:
        kinds = kinds_of(parameters['codes'])
        if not kinds:
            return None
        name = code_model_of(parameters['code_model'], kinds)
        if name not in self._code_models:
            self._code_models[name] = load_code_model(name)
        policy = code_policy(parameters)
        return CodeEncoder(self._code_models[name], kinds, codec.latent_mean, policy)
