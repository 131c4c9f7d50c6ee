# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents of several views of places in images, as training batches."""

from __future__ import annotations

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sage_perception.models import Codec
from sage_perception.training.config import RunConfig, TrainingConfig
from sage_perception.training.data.crops import Stills
from sage_perception.training.data.files import training_images
from sage_perception.training.latents import encode_crops
from sage_perception.training.tasks.identity.views import PLACES, VIEWS, sample_views

SCENES_AT_ONCE = 100
"""Scenes whose crops are in memory at one time."""


class ViewBatches(Dataset[Tensor]):
    """One epoch of an endless stream of batches `[B, PLACES, 2, D]` that starts at batch `start`.

    `latents` `[N, PLACES, VIEWS, ...]` may be anything that views have, also their pixels. A batch
    consists of random scenes and two random views of each of their places. It depends only on its
    number and the configured seed.
    """

    def __init__(self, latents: Tensor, config: TrainingConfig, start: int):
        self.latents, self.config, self.start = latents, config, start

    def __len__(self) -> int:
        return self.config.epoch

    def __getitem__(self, index: int) -> Tensor:
        rng = np.random.default_rng((self.config.seed, self.start + index))
        scenes = torch.from_numpy(rng.integers(len(self.latents), size=self.config.batch))
        places = torch.arange(PLACES)[None]
        shape = (self.config.batch, PLACES)
        first = torch.from_numpy(rng.integers(VIEWS, size=shape))
        second = (first + torch.from_numpy(rng.integers(1, VIEWS, size=shape))) % VIEWS
        rows = self.latents[scenes]
        own = torch.arange(self.config.batch)[:, None]
        return torch.stack((rows[own, places, first], rows[own, places, second]), 2)


class ViewDataModule(lightning.LightningDataModule):
    """Latents of training scenes and of held-out scenes, `[N, PLACES, VIEWS, D]` both."""

    def __init__(self, train: np.ndarray, validation: np.ndarray, config: TrainingConfig):
        super().__init__()
        self.train, self.validation = torch.from_numpy(train), torch.from_numpy(validation)
        self.config = config

    @classmethod
    def of(cls, config: RunConfig, codec: Codec) -> ViewDataModule:
        """Return the views of the images of a configuration, encoded by `codec`.

        `training.fitted_crops` and `training.validation_crops` are the numbers of crops. Raises
        `ConfigError` if there are no images to train or to validate on.
        """
        training = config.training
        counts = {False: training.fitted_crops, True: training.validation_crops}
        train, held_out = (
            encoded_views(config, codec, which, max(count // (PLACES * VIEWS), 2))
            for which, count in counts.items()
        )
        return cls(train, held_out, training)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.config.epoch
        return DataLoader(ViewBatches(self.train, self.config, start), None)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return the held-out scenes as one batch."""
        # A tensor has the methods of a map-style dataset but not its type.
        return DataLoader(self.validation, len(self.validation))  # type: ignore[arg-type]


def encoded_views(config: RunConfig, codec: Codec, held_out: bool, scenes: int) -> np.ndarray:
    """Return the latents of the views of `scenes` scenes, float32 `[N, PLACES, VIEWS, D]`.

    Raises `ConfigError` if there are no images.
    """
    stills = Stills(training_images(config.data, held_out))
    parts = []
    for first in range(0, scenes, SCENES_AT_ONCE):
        count = min(SCENES_AT_ONCE, scenes - first)
        seed = (config.training.seed << 1 | held_out) * 100_003 + first
        views = sample_views(stills, codec.input_size, count, seed)
        latents = encode_crops(codec, views.reshape(-1, *views.shape[3:]))
        parts.append(latents.reshape(*views.shape[:3], -1))
    return np.concatenate(parts)
