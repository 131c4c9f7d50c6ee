# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The Lightning module that every model family derives its training step from."""

from __future__ import annotations

import math
from typing import ClassVar

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

from sage_perception.training.config import TrainingConfig


class TrainingModule(lightning.LightningModule):
    """A network with its optimizer; subclasses define the training and the validation step."""

    MONITOR: ClassVar[str]
    """Validation figure for early stopping; higher is better."""

    def __init__(self, model: nn.Module, config: TrainingConfig):
        super().__init__()
        self.model = model
        self.config = config

    @property
    def progress(self) -> float:
        """Return the share of the run that is completed."""
        return self.global_step / self.config.steps

    def seed_step(self, rank: int = 0) -> None:
        """Seed torch from the step and the process, so that a resumed run draws the same noise."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step + (rank << 48))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a warm-up and a cosine decay (Loshchilov and Hutter, 2017).

        Frozen parameters are left out.
        """
        optimizer = torch.optim.AdamW(
            [p for p in self.parameters() if p.requires_grad],
            self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )

        def factor(step: int) -> float:
            warm = min((step + 1) / self.config.warmup, 1)
            return warm * 0.5 * (1 + math.cos(math.pi * min(step / self.config.steps, 1)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }
