# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of loaded slot models, independent of the backend."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from sage_perception.models.artifact import Artifact, ModelError
from sage_perception.models.image_model import ImageModel
from sage_perception.models.mask_refinement import MaskRefinement

START_MEAN, START_LOG_STD = 'encoder.start.mean', 'encoder.start.log_std'
"""Tensors of an artifact: the start of the slots; the second one only of a random start."""

MAX_STARTS = 16
"""Most random starts of an image, which bounds the time of an image."""


class Slots(NamedTuple):
    """The slots of images.

    Attributes:
        slots: float32 `[B, K, D]`.
        attention: float32 `[B, K, N]`, the share of each token that a slot holds.

    """

    slots: np.ndarray
    attention: np.ndarray


class DecodedSlots(NamedTuple):
    """Images composed of slots.

    Attributes:
        image: float32 `[B, C, S, S]`, the composed image.
        images: float32 `[B, K, C, S, S]`, the image of each slot.
        masks: float32 `[B, K, S, S]`, which sum to 1 over the slots.

    """

    image: np.ndarray
    images: np.ndarray
    masks: np.ndarray


class SlotEncoder(ImageModel):
    """A loaded model that divides images among slots, and composes images of slots.

    Images `x` are float32 `[B, C, S, S]` in [0, 1].

    Attributes
    ----------
    id, backend, device, precision
        As of `LoadedModel`.
    starts : int
        Random starts of a single image, of which the best is kept.
    refinement : MaskRefinement
        How masks are refined on the images.
    latent_mean, latent_std : np.ndarray
        Statistics of the slots of held-out scenes, float32 `[D]`.

    """

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        self._start = artifact.tensor(START_MEAN).astype(np.float32)
        log_std = artifact.tensors.get(START_LOG_STD)
        self._start_std = None if log_std is None else np.exp(log_std.astype(np.float32))
        self.starts = artifact.count('starts') if 'starts' in artifact.config else 1
        try:
            self.refinement = MaskRefinement.of(artifact.config)
        except ValueError as error:
            raise ModelError(f'{artifact.path}: config.{error}') from None
        if self.starts > MAX_STARTS:
            raise ModelError(
                f'{artifact.path}: config.starts is {self.starts}; it must be at most {MAX_STARTS}'
            )

    @property
    def slot_count(self) -> int:
        """Return K, the number of slots."""
        return self.artifact.count('slots')

    @property
    def latent_dim(self) -> int:
        """Return D, the number of dimensions of a slot."""
        return self.artifact.count('slot_dim')

    @property
    def token_count(self) -> int:
        """Return N, the number of tokens of an image."""
        return (-(-self.input_size // self.artifact.count('stride'))) ** 2

    def encode(self, x: np.ndarray, seed: int = 0) -> Slots:
        """Return the slots of images; `seed` determines a random start.

        A model with several starts takes those from `seed` on, and keeps the slots of each image
        that compose it with the smallest squared error. Raises `ModelError` for another shape.
        """
        self.require_images(x)
        x = np.asarray(x, np.float32)
        found = [self._encode(x, self.start(len(x), seed + n)) for n in range(self.starts)]
        if len(found) == 1:
            return found[0]
        errors = np.stack([self._error(x, each) for each in found])
        best = np.where(np.isnan(errors), np.inf, errors).argmin(0)
        rows = np.arange(len(x))
        return Slots(*(np.stack(part)[best, rows] for part in zip(*found, strict=True)))

    def _error(self, x: np.ndarray, slots: Slots) -> np.ndarray:
        """Return the mean squared error of each of the composed images, float32 `[B]`."""
        image = self.decode(slots).image
        colors = self.refinement.colors
        return np.square(colors(image) - colors(x)).mean((1, 2, 3))

    def track(self, x: np.ndarray, previous: np.ndarray) -> Slots:
        """Return the slots of the next frames, from the slots `[B, K, D]` of the previous ones.

        Raises `ModelError` for another shape.
        """
        self.require_images(x)
        wanted = (len(x), self.slot_count, self.latent_dim)
        if previous.shape != wanted:
            raise ModelError(
                f'{self.id.name} takes the slots of the previous frames as float32 '
                f'{list(wanted)}, not {list(previous.shape)}'
            )
        return self._track(np.asarray(x, np.float32), previous.astype(np.float32, copy=False))

    def start(self, batch: int, seed: int = 0) -> np.ndarray:
        """Return the slots before the first round, float32 `[B, K, D]`."""
        shape = (batch, self.slot_count, self.latent_dim)
        mean = np.broadcast_to(self._start, shape)
        if self._start_std is None:
            return mean.copy()
        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return mean + self._start_std * noise

    @abstractmethod
    def _encode(self, x: np.ndarray, start: np.ndarray) -> Slots:
        """Return the slots of float32 images from a start."""

    @abstractmethod
    def _track(self, x: np.ndarray, previous: np.ndarray) -> Slots:
        """Return the slots of float32 images from those of the previous frames."""

    def decode(self, slots: Slots, x: np.ndarray | None = None) -> DecodedSlots:
        """Return the images that slots compose.

        With the images `x` of the slots, a model that refines masks does so: these are more
        exact, and slots that are not needed have empty masks. The composed image is the same.
        """
        decoded = self._decode(slots)
        if x is None or not self.refinement.rounds:
            return decoded
        pairs = zip(decoded.masks, x, strict=True)
        return decoded._replace(masks=np.stack([self.refinement.refine(*pair) for pair in pairs]))

    @abstractmethod
    def _decode(self, slots: Slots) -> DecodedSlots:
        """Return the images that slots compose."""
