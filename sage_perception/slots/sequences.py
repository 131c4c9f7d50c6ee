# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The slots of many videos, and predictions of hidden slots without a network."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.models.slot_encoder import SlotEncoder

BATCH = 32
"""Videos per call of the model."""


def slot_sequences(model: SlotEncoder, videos: np.ndarray) -> np.ndarray:
    """Return the slots of videos, each carried over from frame to frame.

    Args:
        model: a slot model.
        videos: uint8 RGB `[N, T, S, S, 3]`, scaled to the size of the model.

    Returns:
        float32 `[N, T, K, D]`; slot k stays with its object.

    """
    found = []
    for first in range(0, len(videos), BATCH):
        part = videos[first : first + BATCH]
        slots: list[np.ndarray] = []
        for frames in part.swapaxes(0, 1):
            x = model_batch(model, frames)
            slots.append((model.track(x, slots[-1]) if slots else model.encode(x)).slots)
        found.append(np.stack(slots, 1))
    return np.concatenate(found)


def model_batch(model: SlotEncoder, images: np.ndarray) -> np.ndarray:
    """Return images, uint8 RGB `[B, S, S, 3]`, as input of a model, float32 `[B, 3, s, s]`."""
    size = (model.input_size, model.input_size)
    scaled = [cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in images]
    return np.stack(scaled).transpose(0, 3, 1, 2).astype(np.float32) / 255


def extrapolate(slots: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return slots with the hidden ones continued at the last visible change.

    `slots` are float `[N, T, K, D]`, `hidden` bool `[N, T, K]`. A slot that was visible in fewer
    than two successive frames is repeated; one that was not visible is 0.
    """
    result = slots.copy()
    last, step = np.zeros_like(slots[:, 0]), np.zeros_like(slots[:, 0])
    seen = np.zeros(hidden[:, 0].shape, bool)
    for frame in range(slots.shape[1]):
        now, unseen = slots[:, frame], hidden[:, frame, :, None]
        step = np.where(unseen, step, np.where(seen[..., None], now - last, 0))
        last = np.where(unseen, last + step, now)
        seen = ~hidden[:, frame]
        result[:, frame] = last
    return result
