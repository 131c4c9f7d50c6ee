# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loss and validation of slot models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.models.networks.slots import SlotModel, SlotsOutput, segment
from sage_perception.slots.scores import foreground_ari
from sage_perception.training.config import ScenesConfig, TrainingConfig
from sage_perception.training.losses import slots as losses
from sage_perception.training.module import TrainingModule

MAX_GRADIENT = 0.05
"""Largest norm of a gradient; larger ones are scaled down. Slot Attention diverges without it."""


class SlotsModule(TrainingModule):
    """A slot model in training on images, or on clips whose slots are carried over."""

    MONITOR = 'val_fg_ari'
    model: SlotModel

    def __init__(self, model: SlotModel, config: TrainingConfig, scenes: ScenesConfig) -> None:
        super().__init__(with_memory_format(model, torch.channels_last), config)
        self.scenes = scenes

    def training_step(self, x: Tensor, _: int) -> Tensor:
        """Return the loss of clips, float `[B, T, 3, S, S]`; T is 1 for images."""
        self.seed_step(self.global_rank)
        outputs = self.model.frames(x)
        terms: dict[str, Tensor] = {}
        for output, image in zip(outputs, x.unbind(1), strict=True):
            for name, value in self.terms(output, image).items():
                terms[name] = terms.get(name, torch.zeros(())) + value / len(outputs)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({'loss': loss, **terms}, prog_bar=True)
        return loss

    def terms(self, output: SlotsOutput, image: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms of the loss of images by name.

        That of the attention falls linearly to 0 at `attention_until` of the run; the other
        auxiliary terms rise linearly from `losses_from` to its end.
        """
        space = self.model.space
        colors = space(image)
        terms = {'mse': losses.reconstruction(space(output.image), colors)}
        weights, start = self.scenes, self.scenes.losses_from
        fall = 1 - self.progress / max(weights.attention_until, 1e-9)
        if weights.attention and fall > 0:
            error = losses.attention_reconstruction(space(output.images), output.attention, colors)
            terms['attention'] = fall * weights.attention * error
        rise = max(self.progress - start, 0) / max(1 - start, 1e-9)
        if rise <= 0:
            return terms
        rising = {}
        if weights.orthogonality:
            rising['orthogonality'] = weights.orthogonality * losses.orthogonality(output.slots)
        if weights.mask_entropy:
            rising['entropy'] = weights.mask_entropy * losses.mask_entropy(output.masks)
        if weights.coverage:
            rising['coverage'] = weights.coverage * losses.coverage(output.masks)
        if weights.appearance:
            rising['appearance'] = weights.appearance * losses.appearance(output.masks, colors)
        return terms | {name: rise * value for name, value in rising.items()}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Limit the norm of the gradient."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        """Log the error and the FG-ARI of held-out scenes, of whole clips for videos."""
        x, labels = batch
        torch.manual_seed(0)  # random starts: the same in every validation
        outputs = self.model.frames(x)
        images = torch.stack([output.image for output in outputs], 1)
        segments = torch.stack([segment(output.masks) for output in outputs], 1)
        scores = [
            foreground_ari(truth, found)
            for truth, found in zip(labels.cpu().numpy(), segments.cpu().numpy(), strict=True)
        ]
        found = [score for score in scores if score is not None]
        self.log_dict(
            {
                'val_mse': losses.reconstruction(images, x),
                'val_fg_ari': float(np.mean(found)) if found else 0.0,
            },
            prog_bar=True,
        )
