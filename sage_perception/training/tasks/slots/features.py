# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of slot models that compose features of photographs instead of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.models.networks.slots import SlotModel
from sage_perception.training.config import RunConfig, ScenesConfig, TrainingConfig
from sage_perception.training.losses import slots as losses
from sage_perception.training.module import TrainingModule
from sage_perception.training.runs import load_or_new, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.slots.photographs import Photographs, photographs
from sage_perception.training.tasks.slots.task import export_model, scenes_section

MAX_GRADIENT = 1.0
"""Largest norm of a gradient; larger ones are scaled down."""
COLOR_WEIGHT = 2.0
"""Factor of colors in [0, 1], so that their variance is about that of a feature."""


class Targets:
    """Principal components of features, scaled to a mean variance of 1, beside colors.

    The basis is that of `fitted`.
    """

    def __init__(self, fitted: Photographs, count: int) -> None:
        rows = fitted.features.reshape(-1, fitted.features.shape[-1]).astype(np.float32)
        self.mean = rows.mean(0)
        values, vectors = np.linalg.eigh(np.cov((rows - self.mean).T))
        self.basis = vectors[:, ::-1][:, :count] / np.sqrt(values[::-1][:count].mean())

    def __call__(self, images: Photographs) -> Tensor:
        """Return the targets of images, float32 `[N, g, g, 3 + F]`, colors first."""
        features = (images.features.astype(np.float32) - self.mean) @ self.basis
        colors = COLOR_WEIGHT * images.colors.astype(np.float32) / 255
        return torch.from_numpy(np.concatenate((colors, features), -1).astype(np.float32))


class FeatureBatches(Dataset[tuple[Tensor, Tensor]]):
    """One epoch of an endless stream of batches that starts at batch `start`.

    A batch depends only on its number and the configured seed: maps `[B, g, g, 112]` and targets
    `[B, g, g, 3 + F]`, half of the batches mirrored.
    """

    def __init__(self, maps: Tensor, targets: Tensor, config: TrainingConfig, start: int) -> None:
        self.maps, self.targets, self.config, self.start = maps, targets, config, start

    def __len__(self) -> int:
        return self.config.epoch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.config.seed, self.start + index))
        chosen = torch.from_numpy(rng.integers(len(self.maps), size=self.config.batch))
        maps, targets = self.maps[chosen].float(), self.targets[chosen]
        return (maps.flip(2), targets.flip(2)) if rng.random() < 0.5 else (maps, targets)


class FeatureDataModule(lightning.LightningDataModule):
    """Maps and targets of photographs, and of held-out ones."""

    def __init__(self, config: RunConfig, scenes: ScenesConfig) -> None:
        super().__init__()
        self.training = config.training
        fitted = photographs(config.data, scenes.count, held_out=False)
        held_out = photographs(config.data, scenes.held_out, held_out=True)
        targets = Targets(fitted, config.model.decoder_features)
        self.maps, self.targets = torch.from_numpy(fitted.maps), targets(fitted)
        self.held_out = torch.from_numpy(held_out.maps).float(), targets(held_out)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.training.epoch
        return DataLoader(FeatureBatches(self.maps, self.targets, self.training, start), None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the held-out photographs."""
        return DataLoader(TensorDataset(*self.held_out), self.training.batch)


class FeatureModule(TrainingModule):
    """A slot model in training on maps of photographs."""

    MONITOR = 'val_explained'
    model: SlotModel

    def error(self, maps: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of colors and features."""
        model = self.model
        slots, attention = model.attend_maps(maps.permute(0, 3, 1, 2))
        composed = model.compose_features(slots, attention).float()
        weights = torch.ones(composed.shape[-1], device=composed.device)
        weights[: model.config.input_channels] = COLOR_WEIGHT
        return losses.reconstruction(weights * composed, targets.flatten(1, 2))

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Return the loss of maps `[B, g, g, 112]` and targets `[B, g, g, 3 + F]`."""
        self.seed_step(self.global_rank)
        loss = self.error(*batch)
        self.log('loss', loss, prog_bar=True)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Limit the norm of the gradient."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        """Log the share of the variance of held-out targets that the slots explain."""
        torch.manual_seed(0)  # random starts: the same in every validation
        targets = batch[1]
        variance = (targets - targets.mean((0, 1, 2))).square().mean()
        self.log('val_explained', 1 - self.error(*batch) / variance, prog_bar=True)


class SlotFeaturesTask(Task[FeatureDataModule]):
    """Train on features of photographs."""

    def data(self) -> FeatureDataModule:
        """Compute the features, or read them from the cache. Raises `ConfigError`."""
        return FeatureDataModule(self.config, scenes_section(self.config))

    def module(self, data: FeatureDataModule, run: Path) -> FeatureModule:
        """Return a new module, or that of the checkpoint."""
        model = load_or_new(self.config, run, SlotModel)
        return FeatureModule(model, self.config.training)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        model = load_run(self.config, run, SlotModel).eval()
        maps, _ = self.data().held_out
        torch.manual_seed(0)
        with torch.inference_mode():
            slots = model.attend_maps(maps.permute(0, 3, 1, 2))[0].flatten(0, 1)
        export_model(self.config, model, slots, folder)
