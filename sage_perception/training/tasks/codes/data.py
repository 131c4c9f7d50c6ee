# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Views of places to tell apart, and crops with the codes of a teacher."""

from __future__ import annotations

from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.training.config import RunConfig, TrainingConfig
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.files import training_images
from sage_perception.training.tasks.identity.data import ViewBatches
from sage_perception.training.tasks.identity.views import PLACES, VIEWS, sample_views

TAUGHT = 2
"""Crops with codes of the teacher in a batch, per scene."""
MAX_VALIDATION_SCENES = 200
PARALLAX = 0.04
"""Standard deviation, in sides, of displacements within a view."""


class Lessons(NamedTuple):
    """Crops, uint8 `[N, S, S, 3]`, and the codes that the teacher has for them, `[N, 64]`."""

    crops: Tensor
    identity: Tensor
    semantic: Tensor

    def take(self, rows: Tensor) -> Lessons:
        """Return some of the crops."""
        return Lessons(*(each[rows] for each in self))


class CodesBatches(Dataset[tuple[Tensor, Lessons]]):
    """One epoch of batches: two views of each place, uint8 `[B, P, 2, S, S, 3]`, and lessons."""

    def __init__(self, views: Tensor, lessons: Lessons, config: TrainingConfig, start: int):
        self.places = ViewBatches(views, config, start)
        self.lessons, self.config, self.start = lessons, config, start

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, Lessons]:
        rng = np.random.default_rng((self.config.seed, 1, self.start + index))
        rows = rng.integers(len(self.lessons.crops), size=TAUGHT * self.config.batch)
        return self.places[index], self.lessons.take(torch.from_numpy(rows))


class CodesDataModule(lightning.LightningDataModule):
    """Views of training and of held-out scenes `[N, P, V, S, S, 3]`, and lessons of both."""

    def __init__(
        self,
        train: Tensor,
        validation: Tensor,
        lessons: Lessons,
        held_out: Lessons,
        config: TrainingConfig,
    ):
        super().__init__()
        self.train, self.validation = train, validation
        self.lessons, self.held_out = lessons, held_out
        self.config = config

    @classmethod
    def of(cls, config: RunConfig, teacher: SemanticText) -> CodesDataModule:
        """Cut the crops of a configuration and compute the codes of the teacher.

        `training.fitted_crops` and `training.validation_crops` are the numbers of views; a sixth
        as many crops get codes of the teacher. Raises `ConfigError` if there are no images.
        """
        parts = []
        for held_out in (False, True):
            training = config.training
            count = training.validation_crops if held_out else training.fitted_crops
            stills = Stills(training_images(config.data, held_out), balanced=True)
            seed = training.seed << 1 | held_out
            scenes = max(count // (PLACES * VIEWS), 2)
            views = sample_views(stills, config.model.img_size, scenes, seed, PARALLAX)
            parts.append((torch.from_numpy(views), teach(stills, teacher, config, count, seed)))
        (train, lessons), (validation, known) = parts
        return cls(train, validation[:MAX_VALIDATION_SCENES], lessons, known, config.training)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Lessons]]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.config.epoch
        return DataLoader(CodesBatches(self.train, self.lessons, self.config, start), None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Lessons]]:
        """Return the held-out scenes and lessons as one batch."""
        # A list has the methods of a map-style dataset but not its type.
        batch = [(self.validation, self.held_out)]
        return DataLoader(batch, None)  # type: ignore[arg-type]


def teach(
    stills: Stills, teacher: SemanticText, config: RunConfig, views: int, seed: int
) -> Lessons:
    """Return random crops with the codes of the teacher, a sixth as many as there are views."""
    rng = np.random.default_rng(seed)
    crops = CropConfig(config.model.img_size, config.data.smallest)
    images = np.stack([stills.draw(rng, crops) for _ in range(max(views // 6, 2))])
    semantic, identity = teacher.codes(images)
    return Lessons(*map(torch.from_numpy, (images, identity, semantic)))
