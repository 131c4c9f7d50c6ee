# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A slot model as a model of images of one object, for arbitration and compatibility.

The latent of an image is the slot of its object. So the slots of two cameras can be matched and
fused, and the compatibility of slot models can be measured on the probe images, as for crops.
"""

from __future__ import annotations

import numpy as np

from sage_perception.models.codec import Codec
from sage_perception.models.slot_encoder import SlotEncoder, Slots


class SlotCodec(Codec):
    """The object slots of a slot model, in the interface of a model of crops."""

    def __init__(self, model: SlotEncoder) -> None:
        super().__init__(model.artifact, model.device, model.precision)
        self.backend = model.backend
        self.latent_mean, self.latent_std = self.latent_mean.ravel(), self.latent_std.ravel()
        self._model = model

    def encode_stats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the object slots `[B, D]` of images; slots have no variance, so the second is 0.

        The object is the slot with the largest area, apart from the one with most pixels at the
        border, which is the background. Raises `ModelError` for another shape.
        """
        self.require_images(x)
        if not len(x):
            empty = np.zeros((0, self.latent_dim), np.float32)
            return empty, empty
        slots = self._model.encode(x)
        chosen = object_slots(self._model.decode(slots).masks)
        found = slots.slots[np.arange(len(x)), chosen].astype(np.float32)
        return found, np.zeros_like(found)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the images `[B, C, S, S]` of slots `[B, D]`, each without the other slots."""
        count = self._model.slot_count
        slots = np.repeat(np.asarray(z, np.float32)[:, None], count, axis=1)
        attention = np.full((len(slots), count, self._model.token_count), 1 / count, np.float32)
        return self._model.decode(Slots(slots, attention)).images[:, 0]


def object_slots(masks: np.ndarray) -> np.ndarray:
    """Return the slot of the object in each image, int64 `[B]`, from masks `[B, K, S, S]`."""
    segments = masks.argmax(1)
    count = masks.shape[1]
    inside = segments[:, None] == np.arange(count)[:, None, None]
    border = inside.copy()
    border[:, :, 1:-1, 1:-1] = False
    areas = inside.sum((2, 3)).astype(np.float64)
    background = border.sum((2, 3)).argmax(1)
    # The background is the object only if there is nothing else.
    areas[np.arange(len(areas)), background] *= 1e-6
    return areas.argmax(1)
