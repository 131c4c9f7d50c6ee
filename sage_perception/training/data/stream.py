# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An endless, reproducible stream of augmented crops, and its Lightning data module."""

from __future__ import annotations

from typing import cast

import cv2
import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sage_perception.training.config import RunConfig, TrainingConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, mixture


class CropStream(Dataset[np.ndarray]):
    """Crops `start` to `start + count` of an endless augmented stream that `seed` determines.

    An item depends only on `seed` and its number, so a resumed run gets the same crops as an
    uninterrupted one.
    """

    def __init__(self, mixture: Mixture, channels: int, seed: int, start: int, count: int):
        self.mixture, self.channels, self.seed = mixture, channels, seed
        self.start, self.count = start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.start + index))
        return to_model(augment(self.mixture.draw(rng), rng), self.channels)


class CropDataModule(lightning.LightningDataModule):
    """Endless augmented crops in epochs of a fixed number of steps, and fixed validation crops."""

    def __init__(self, train: Mixture, validation: Mixture, channels: int, config: TrainingConfig):
        super().__init__()
        self.train, self.channels, self.config = train, channels, config
        crops = validation.sample(config.validation_crops, seed=0)
        self.validation = torch.from_numpy(to_model(crops, channels))

    @classmethod
    def of(cls, config: RunConfig) -> CropDataModule:
        """Return the crops of a configuration. Raises `ConfigError`."""
        size = config.model.img_size
        train, validation = (mixture(config.data, size, held_out) for held_out in (False, True))
        return cls(train, validation, config.model.input_channels, config.training)

    def train_dataloader(self) -> DataLoader[np.ndarray]:
        """Return the crops of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        count = self.config.epoch * self.config.batch
        start = self.trainer.current_epoch * count
        stream = CropStream(self.train, self.channels, self.config.seed, start, count)
        return DataLoader(stream, self.process_batch)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return the validation crops."""
        # A tensor has the methods of a map-style dataset but not its type.
        return DataLoader(cast(Dataset[Tensor], self.validation), self.process_batch)

    @property
    def process_batch(self) -> int:
        """Return the number of crops per batch of one process; Lightning distributes them."""
        assert self.trainer is not None
        return self.config.batch // self.trainer.world_size


def augmented_crops(crops: Mixture, config: RunConfig, count: int | None = None) -> np.ndarray:
    """Return crops to fit a linear model to, float32 `[N, C, S, S]`, augmented as in training.

    Augmentation makes principal components generalize better, so the baseline is stronger, too.
    `count` defaults to `training.fitted_crops`.
    """
    count = count or config.training.fitted_crops
    stream = CropStream(crops, config.model.input_channels, config.training.seed, 0, count)
    return np.stack([stream[index] for index in range(count)])


def augment(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an augmented copy of a uint8 crop `[S, S, C]`.

    Rotation by right angles, mirroring, exposure and white balance; occasionally blur, noise or
    grayscale.
    """
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    x: np.ndarray = crop.astype(np.float32) / 255
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    x = x * gain.astype(np.float32) + rng.uniform(-0.08, 0.08)
    if rng.random() < 0.1:
        x = np.repeat(x.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.15:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.15:
        x = x + rng.normal(0, rng.uniform(0.005, 0.03), x.shape).astype(np.float32)
    return (x.clip(0, 1) * 255 + 0.5).astype(np.uint8)
