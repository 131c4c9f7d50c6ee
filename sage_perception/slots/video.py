# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Divide the frames of a video among slots, each of which stays with its object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.models.slot_encoder import SlotEncoder, Slots
from sage_perception.slots.linking import SlotLinker


class SlotFrame(NamedTuple):
    """A frame and its slots.

    Attributes:
        image: float32 `[C, S, S]` in [0, 1], the frame as the model takes it.
        slots: float32 `[K, D]`.
        reconstruction: float32 `[C, S, S]`, the image that the slots compose.
        masks: float32 `[K, S, S]`, which sum to 1 over the slots.

    """

    image: np.ndarray
    slots: np.ndarray
    reconstruction: np.ndarray
    masks: np.ndarray


def segment_frames(
    model: SlotEncoder, images: Iterable[np.ndarray], carry: bool = True
) -> Iterator[SlotFrame]:
    """Yield the slots of frames, uint8 BGR `[H, W, 3]` or gray `[H, W]`.

    With `carry`, slot k stays with its object: the slots of a frame start from those of the
    previous one, or, if the model refines its masks, each frame is divided on its own and its
    slots are linked to the objects (`SlotLinker`). Otherwise slots of frames are independent.
    """
    linker = SlotLinker(model.refinement) if carry and model.refinement.rounds else None
    previous: Slots | None = None
    for image in images:
        x = model_input(image, model.input_size, model.input_channels)[None]
        if previous is None or linker is not None or not carry:
            slots = model.encode(x)
        else:
            slots = model.track(x, previous.slots)
        decoded = model.decode(slots, x)
        latents, masks = slots.slots[0], decoded.masks[0]
        if linker is not None:
            latents, masks = linker.link(latents, masks, x[0])
        yield SlotFrame(x[0], latents, decoded.image[0], masks)
        previous = slots


def model_input(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return the central square of an image as float32 `[C, size, size]` in [0, 1].

    `image` is uint8 BGR `[H, W, 3]` or gray `[H, W]`. Colors become RGB.
    """
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return scaled_input(image[top : top + side, left : left + side], size, channels)


def scaled_input(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return a whole image as `model_input` does; other proportions become a square."""
    larger = min(image.shape[:2]) > size
    interpolation = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    small = cv2.resize(image, (size, size), interpolation=interpolation)
    if channels == 1:
        gray = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        return gray[None].astype(np.float32) / 255
    code = cv2.COLOR_GRAY2RGB if small.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(small, code).transpose(2, 0, 1).astype(np.float32) / 255
