# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encode whole images into latents and decode them, as one center square or as tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.codecs.encoded_images import EncodedImages
from sage_perception.core.latent import Roi
from sage_perception.models.artifact import ModelError
from sage_perception.models.codec import Codec
from sage_perception.vision.crops import crop_image, square_roi, to_pixels


def tiles(width: int, height: int, size: int) -> list[Roi]:
    """Return squares of side `size` that cover an image of at least that size, pixels.

    The last column and row overlap their neighbors.
    """

    def starts(side: int) -> list[int]:
        return [*range(0, side - size, size), side - size]

    return [Roi(x, y, size, size) for y in starts(height) for x in starts(width)]


def squares(
    names: Sequence[str], images: Sequence[np.ndarray], size: int, tiled: bool
) -> list[list[Roi]]:
    """Return the squares to encode of each image: its tiles, or its center square.

    Raises `ValueError` for an image that is smaller than a tile.
    """
    rois = []
    for name, image in zip(names, images, strict=True):
        height, width = image.shape[:2]
        if tiled and min(width, height) < size:
            raise ValueError(
                f'{name} has {width}x{height} pixels, smaller than a tile of {size}: omit --tiles'
            )
        center = square_roi((width / 2, height / 2), min(width, height), width, height)
        rois.append(tiles(width, height, size) if tiled else [center])
    return rois


def crops_of(
    images: Sequence[np.ndarray], rois: Sequence[Sequence[Roi]], codec: Codec
) -> np.ndarray:
    """Return squares of images as input of the model, float32 `[N, C, S, S]` in [0, 1]."""
    color = 'gray' if codec.input_channels == 1 else 'rgb'
    crops = [
        np.atleast_3d(crop_image(image, roi, codec.input_size, color))
        for image, own in zip(images, rois, strict=True)
        for roi in own
    ]
    return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255


def encode_images(
    codec: Codec, names: Sequence[str], images: Sequence[np.ndarray], tiled: bool
) -> EncodedImages:
    """Return the latents of images, uint8 BGR `[H, W, 3]`; raise as `squares` does."""
    rois = squares(names, images, codec.input_size, tiled)
    flat = [(roi.x, roi.y, roi.width, roi.height) for own in rois for roi in own]
    return EncodedImages(
        model=codec.id,
        latents=codec.encode(crops_of(images, rois, codec)),
        rois=np.array(flat, np.int32),
        owners=np.repeat(np.arange(len(rois)), [len(own) for own in rois]).astype(np.int32),
        names=list(names),
        sizes=np.array([image.shape[:2] for image in images], np.int32),
        tiled=tiled,
    )


def decode_images(codec: Codec, encoded: EncodedImages) -> list[np.ndarray]:
    """Return one image, uint8 RGB, per encoded image: its square, or the whole image if tiled.

    Raises `ModelError` for latents of another space or shape than the model's.
    """
    if encoded.model.fingerprint != codec.id.fingerprint:
        raise ModelError(
            f'the latents were made by {encoded.model}, and {codec.id} has another latent space: '
            'select their model with --model'
        )
    if encoded.tiled and (encoded.rois[:, 2:] != codec.input_size).any():
        raise ModelError(f'tiles for {codec.id} must have {codec.input_size} pixels a side')
    return assemble(codec.decode(encoded.latents), encoded)


def assemble(x: np.ndarray, encoded: EncodedImages) -> list[np.ndarray]:
    """Return the images, uint8 RGB, of which `x` `[N, C, S, S]` in [0, 1] are the squares."""
    parts = to_pixels(x)
    parts = np.repeat(parts, 3, axis=3) if parts.shape[3] == 1 else parts
    if not encoded.tiled:
        return list(parts)
    images = [np.zeros((height, width, 3), np.uint8) for height, width in encoded.sizes]
    for part, (x0, y0, width, height), owner in zip(
        parts, encoded.rois, encoded.owners, strict=True
    ):
        images[owner][y0 : y0 + height, x0 : x0 + width] = part
    return images
