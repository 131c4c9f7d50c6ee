# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generated scenes as training batches, and held-out ones with their masks."""

from __future__ import annotations

from collections.abc import Sequence

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.training.config import ScenesConfig, TrainingConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.data.objects.pool import scenes
from sage_perception.training.data.objects.scene import Scene

CHANNELS = 3
"""Channels of the images of scenes."""
HELD_OUT_SEED = 1
"""Seed of the scenes of validation; those of training have 0."""


class SceneBatches(Dataset[Tensor]):
    """One epoch of an endless stream of batches that starts at batch `start`.

    A batch depends only on its number and the configured seed: images, float
    `[B, T, 3, S, S]` in [0, 1]. Scenes are mirrored at random, and the frames of a video are T
    successive ones.
    """

    def __init__(
        self, images: np.ndarray, config: TrainingConfig, frames: int, start: int, count: int
    ) -> None:
        self.images, self.config, self.frames = images, config, frames
        self.start, self.count = start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        rng = np.random.default_rng((self.config.seed, self.start + index))
        chosen = rng.integers(len(self.images), size=self.config.batch)
        first = rng.integers(self.images.shape[1] - self.frames + 1, size=len(chosen))
        mirrored = rng.random(len(chosen)) < 0.5
        clips = [
            self.images[scene, at : at + self.frames, :, :: -1 if mirror else 1]
            for scene, at, mirror in zip(chosen, first, mirrored, strict=True)
        ]
        return torch.from_numpy(to_model(np.stack(clips), CHANNELS))


def with_time(scene: Scene) -> Scene:
    """Return scenes with a dimension of time: `[N, T, …]`, T = 1 for images."""
    if scene.image.ndim == 5:
        return scene
    return Scene(scene.image[:, None], scene.labels[:, None])


class SceneDataModule(lightning.LightningDataModule):
    """Generated scenes in epochs of a fixed number of steps, and held-out ones."""

    def __init__(self, config: ScenesConfig, training: TrainingConfig) -> None:
        super().__init__()
        assert config.set != 'photographs'  # RunConfig requires features for those
        self.config, self.training = config, training
        self.train = with_time(scenes(config.set, config.count, seed=0))
        self.validation = with_time(scenes(config.set, config.held_out, seed=HELD_OUT_SEED))

    @property
    def size(self) -> int:
        """Return the side of the images, pixels."""
        return self.train.image.shape[-2]

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        count = self.training.epoch
        start = self.trainer.current_epoch * count
        batches = SceneBatches(self.train.image, self.training, self.config.frames, start, count)
        return DataLoader(batches, None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the held-out scenes with their labels."""
        frames = slice(0, max(self.config.frames, 1))
        tensors: Sequence[Tensor] = (
            torch.from_numpy(to_model(self.validation.image[:, frames], CHANNELS)),
            torch.from_numpy(self.validation.labels[:, frames]),
        )
        return DataLoader(TensorDataset(*tensors), self.training.batch)
