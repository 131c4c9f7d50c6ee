# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The services of the encoder node: encode one image, decode one latent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sage_msgs.srv import DecodeLatent, EncodeImage
from sensor_msgs.msg import Image

from sage_perception import models
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.ros.conversions.latents import latent_from_msg, latent_to_msg
from sage_perception.ros.conversions.model_ids import model_id_from_msg
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.images import image_to_msg, mono_from_msg, rgb_from_msg
from sage_perception.ros.tables import Service
from sage_perception.vision.crops import to_pixels

SERVES = (
    Service('~/encode_image', EncodeImage, 'Encode one image.'),
    Service('~/decode_latent', DecodeLatent, 'Decode one latent of the model of this node.'),
)


class EncoderServices:
    """Serves `SERVES` of a node; `encoder` returns its encoder, or raises `ValueError`."""

    def __init__(self, node: Endpoints, encoder: Callable[[], CropEncoder]) -> None:
        self._encoder = encoder
        node.serve('~/encode_image', self._encode)
        node.serve('~/decode_latent', self._decode)

    def _encode(
        self, request: EncodeImage.Request, response: EncodeImage.Response
    ) -> EncodeImage.Response:
        try:
            encoder = self._encoder()
            latent = encoder.encode_image(crop_pixels(request.image, encoder))
            response.latent = latent_to_msg(latent)
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _decode(
        self, request: DecodeLatent.Request, response: DecodeLatent.Response
    ) -> DecodeLatent.Response:
        try:
            encoder = self._encoder()
            model, own = model_id_from_msg(request.latent.model), encoder.codec.id
            if model.fingerprint != own.fingerprint:
                raise ValueError(f'the latent is of {model}, the model of this node is {own}')
            latent = latent_from_msg(request.latent, {own.fingerprint: encoder.packer})
            if not np.isfinite(latent.mean).all():
                raise ValueError('the latent is not finite')
            pixels = to_pixels(encoder.codec.decode(latent.mean[None])[0])
        except (ValueError, models.ModelError) as error:
            response.message = str(error)
            return response
        encoding = 'rgb8' if pixels.shape[2] == 3 else 'mono8'
        response.image = image_to_msg(pixels, encoding, EncodeImage.Request().image.header)
        response.success = True
        return response


def crop_pixels(message: Image, encoder: CropEncoder) -> np.ndarray:
    """Return an image message in RGB or gray, as the model; raises `ValueError` if malformed."""
    return rgb_from_msg(message) if encoder.input_shape[0] == 3 else mono_from_msg(message)
