# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Unpack and decode the latents of any number of models.

Latents and models are messages or any objects with the same fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.models import Codec, ModelError, installed_name, load_crop_codec
from sage_perception.vision.crops import to_pixels


class LatentDecoder:
    """Unpacks latents, and decodes those of the models that are installed.

    `models` are names or folders of models to use in addition to those of the package.
    """

    def __init__(self, models: Sequence[str] = ()) -> None:
        self._given = {codec.id.fingerprint: codec for codec in map(load_crop_codec, models)}
        self._codecs: dict[bytes, Codec | None] = {}
        self._packers: dict[bytes, Packer] = {}

    def add_model_info(self, message: Any) -> None:
        """Use the statistics of a `sage_msgs/ModelInfo` to unpack latents of its model.

        Raises `ValueError` for invalid statistics.
        """
        fingerprint = bytes(message.model.fingerprint)
        if fingerprint not in self._packers and self._codec(message.model) is None:
            mean, std = (
                np.asarray(v, np.float32) for v in (message.latent_mean, message.latent_std)
            )
            self._packers[fingerprint] = Packer(mean, std)

    def values(self, latent: Any) -> np.ndarray | None:
        """Return a `sage_msgs/Latent` as float32 `[D]`; None if it cannot be unpacked.

        Raises `ValueError` for a malformed latent.
        """
        encoding = Encoding(int(latent.encoding))
        if encoding == Encoding.FLOAT32:
            values = np.asarray(latent.mean, np.float32)
        else:
            packer = self._packer(latent.model)
            if packer is None:
                return None
            values = packer.unpack(bytes(np.asarray(latent.payload, np.uint8)), encoding)
        if not values.size or not np.isfinite(values).all():
            raise ValueError('a latent is empty or not finite')
        return values

    def standardized(self, model: Any, values: np.ndarray) -> np.ndarray:
        """Return latents `[N, D]` in standard deviations of the model, if it is installed."""
        codec = self._codec(model)
        if codec is None or codec.latent_dim != values.shape[1]:
            return values
        return (values - codec.latent_mean.ravel()) / codec.latent_std.ravel()

    def decode(self, model: Any, values: np.ndarray) -> list[np.ndarray] | None:
        """Return the images of latents `[N, D]`, uint8 RGB; None if the model is not installed."""
        codec = self._codec(model)
        if codec is None or codec.latent_dim != values.shape[1]:
            return None
        images = to_pixels(codec.decode(np.ascontiguousarray(values, np.float32)))
        return [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]

    def _packer(self, model: Any) -> Packer | None:
        fingerprint = bytes(model.fingerprint)
        codec = self._codec(model)
        if codec is not None and fingerprint not in self._packers:
            self._packers[fingerprint] = Packer.of(codec)
        return self._packers.get(fingerprint)

    def _codec(self, model: Any) -> Codec | None:
        fingerprint = bytes(model.fingerprint)
        if fingerprint in self._given:
            return self._given[fingerprint]
        if fingerprint not in self._codecs:
            name = installed_name(fingerprint, str(model.name))
            try:
                self._codecs[fingerprint] = None if name is None else load_crop_codec(name)
            except ModelError:
                self._codecs[fingerprint] = None
        return self._codecs[fingerprint]
