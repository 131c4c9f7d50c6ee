# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of variational autoencoders that learn from a teacher (`DistillationConfig`)."""

from __future__ import annotations

from pathlib import Path

import torch

from sage_perception.models.networks.vae import VAE
from sage_perception.training.config import ConfigError, DistillationConfig, RunConfig
from sage_perception.training.data.stream import CropDataModule, augmented_crops
from sage_perception.training.losses import perceptual
from sage_perception.training.runs import CHECKPOINT, load_network
from sage_perception.training.tasks.distillation_module import DistillationModule
from sage_perception.training.tasks.vae import VaeTask

PROJECTION_CROPS = 2048
"""Crops that the initial projection is fitted to."""


class DistillationTask(VaeTask):
    """Train on crops and on the latents and images of a teacher. Requires `distillation`."""

    def module(self, data: CropDataModule, run: Path) -> DistillationModule:
        """Return a module with a least-squares initial projection, or that of the checkpoint."""
        module = new_distillation(self.network(data.train, run), self.config)
        if module.projection is not None and not (run / CHECKPOINT).exists():
            crops = augmented_crops(data.train, self.config, PROJECTION_CROPS)
            module.fit_projection(torch.from_numpy(crops))
        return module


def new_distillation(model: VAE, config: RunConfig) -> DistillationModule:
    """Return the module that trains `model`.

    Raises `ConfigError` if the perceptual network is missing or the teacher takes other images,
    and `ModelError` if there is no teacher.
    """
    settings = config.distillation or DistillationConfig()
    if settings.perceptual and not perceptual.installed():
        raise ConfigError(
            f'distillation.perceptual requires a network: {perceptual.FIX}; or set it to 0'
        )
    teacher = None
    if settings.latent or settings.output:
        teacher = load_network(settings.teacher)
        for name in ('img_size', 'input_channels'):
            theirs, ours = getattr(teacher.config, name), getattr(config.model, name)
            if theirs != ours:
                raise ConfigError(
                    f'distillation.teacher {settings.teacher} has {name} {theirs}, the model '
                    f'has {ours}'
                )
    return DistillationModule(model, config.training, settings, teacher)
