# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Losses and validation of networks of codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sage_perception.models.networks.codes import Codes
from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.training.config import TrainingConfig
from sage_perception.training.losses.contrast import info_nce
from sage_perception.training.module import TrainingModule
from sage_perception.training.tasks.codes.data import Lessons
from sage_perception.training.tasks.identity.module import TEMPERATURE, places_auroc

TEACHER_WEIGHT, SEMANTIC_WEIGHT = 2.0, 2.0
"""Weights of 1 − cosine to the codes of the teacher, against InfoNCE."""
LOG_GAIN, LOG_TINT = 0.25, 0.1
"""Largest further change of the exposure and of each channel of a view (logarithms)."""


class CodesModule(TrainingModule):
    """A network in training with InfoNCE and the codes of a teacher.

    InfoNCE (van den Oord, Li and Vinyals, 2018) compares two views of a place with the other
    places of the same image and of the other images of a batch.
    """

    MONITOR = 'val_auroc'
    model: Codes

    def __init__(self, model: Codes, config: TrainingConfig):
        super().__init__(with_memory_format(model, torch.channels_last), config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))

    def training_step(self, batch: tuple[Tensor, Lessons], _: int) -> Tensor:
        """Return the loss of views, uint8 `[B, P, 2, S, S, 3]`, and of lessons."""
        self.seed_step()
        views, lessons = batch
        lessons = Lessons(*lessons)
        mirrored = torch.rand(len(views), device=views.device) < 0.5
        views = torch.where(mirrored[:, None, None, None, None, None], views.flip(-2), views)
        x = changed(torch.cat((views.flatten(0, 2), lessons.crops)))
        learned, distilled, semantic = self.model.heads(x)
        count = views.shape[:3].numel()
        codes = torch.cat((learned, distilled), 1)[:count] * 0.5**0.5
        contrast = info_nce(codes[::2], codes[1::2], self.log_scale.exp())
        target = teacher_half(lessons.identity, distilled.shape[1])
        taught = distance(distilled[count:], target)
        meant = distance(semantic[count:], lessons.semantic)
        self.log_dict({'loss': contrast, 'teacher': taught, 'semantic': meant}, prog_bar=True)
        return contrast + TEACHER_WEIGHT * taught + SEMANTIC_WEIGHT * meant

    def validation_step(self, batch: tuple[Tensor, Lessons], _: int) -> None:
        """Log the AUROC of same against other places of one image, and the distances."""
        views, lessons = batch
        lessons = Lessons(*lessons)
        chunks = views.flatten(0, 2).split(512)
        codes = torch.cat([self.model(as_input(chunk))[0] for chunk in chunks])
        auroc = places_auroc(codes.unflatten(0, views.shape[:3]).cpu().numpy())
        parts = [self.model.heads(as_input(chunk)) for chunk in lessons.crops.split(512)]
        _learned, distilled, semantic = (torch.cat(each) for each in zip(*parts, strict=True))
        target = teacher_half(lessons.identity, distilled.shape[1])
        figures = {
            'val_auroc': torch.tensor(auroc),
            'val_teacher': distance(distilled, target),
            'val_semantic': distance(semantic, lessons.semantic),
        }
        self.log_dict(figures, prog_bar=True)


def as_input(images: Tensor) -> Tensor:
    """Return uint8 images `[N, S, S, 3]` as input, float `[N, 3, S, S]` in [0, 1]."""
    return images.movedim(-1, 1).to(torch.float32, memory_format=torch.channels_last) / 255


def changed(images: Tensor) -> Tensor:
    """Return uint8 images `[N, S, S, 3]` as input, at random exposures and white balances."""
    x = as_input(images)
    shape = (len(x), 1, 1, 1)
    gain = torch.empty(shape, device=x.device).uniform_(-LOG_GAIN, LOG_GAIN)
    tint = torch.empty((len(x), 3, 1, 1), device=x.device).uniform_(-LOG_TINT, LOG_TINT)
    return (x * (gain + tint).exp()).clamp(0, 1)


def teacher_half(codes: Tensor, dim: int) -> Tensor:
    """Return the first dimensions of a teacher's codes, its principal ones, of length 1."""
    return nn.functional.normalize(codes[:, :dim], dim=1)


def distance(codes: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 − cosine."""
    return 1 - (codes * targets).sum(1).mean()
