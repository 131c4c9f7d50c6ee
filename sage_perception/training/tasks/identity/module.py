# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loss and validation of identity heads."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from sage_perception.core.discrimination import auroc
from sage_perception.models.networks.identity import IdentityHead
from sage_perception.training.config import TrainingConfig
from sage_perception.training.losses.contrast import info_nce
from sage_perception.training.module import TrainingModule

TEMPERATURE = 0.1
"""Initial temperature of the cosines; it is trained."""


class IdentityModule(TrainingModule):
    """A head in training with InfoNCE (van den Oord, Li and Vinyals, 2018), in both directions.

    The other places of the same image and of the other images of a batch are the negatives.
    """

    MONITOR = 'val_auroc'
    model: IdentityHead

    def __init__(self, model: IdentityHead, config: TrainingConfig):
        super().__init__(model, config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        """Return the loss of latents `[B, PLACES, 2, D]`, two views of each place."""
        first, second = (
            self.model(batch.flatten(0, 1).flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
        )
        loss = info_nce(first, second, self.log_scale.exp())
        self.log('loss', loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Tensor, _: int) -> None:
        """Log the AUROC of same against other places of one image, latents `[B, P, V, D]`."""
        codes = self.model(batch.flatten(0, 2)).unflatten(0, batch.shape[:3]).cpu().numpy()
        self.log('val_auroc', torch.tensor(places_auroc(codes)), prog_bar=True)


def places_auroc(codes: np.ndarray) -> float:
    """Return the AUROC of the first two views of codes `[B, P, V, C]`, within each image."""
    cosines = np.einsum('bpc,bqc->bpq', codes[:, :, 0], codes[:, :, 1])
    same = np.eye(cosines.shape[1], dtype=bool)
    return auroc(cosines[:, same].ravel(), cosines[:, ~same].ravel())
