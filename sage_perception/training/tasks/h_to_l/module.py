# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loss and validation of compressors of contexts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sage_perception.models.networks.divergence import kl_divergence, sample_code
from sage_perception.models.networks.h_to_l import (
    HToLCompressor,
    explained_variance,
    masked_error,
)
from sage_perception.training.config import TrainingConfig
from sage_perception.training.module import TrainingModule

FREE_NATS = 0.05
"""Divergence of a dimension that costs nothing (Kingma et al., 2016)."""
KL_FROM, KL_UNTIL = 0.1, 0.4
"""Shares of a run between which the weight of the divergence rises to `beta`."""


class CompressorModule(TrainingModule):
    """A compressor in training: masked squared error and the divergence of the code.

    `weights` `[4096]` are the loss weights of the dimensions.
    """

    MONITOR = 'val_r2'
    model: HToLCompressor
    weights: Tensor

    def __init__(self, model: HToLCompressor, config: TrainingConfig, weights: Tensor):
        super().__init__(model, config)
        self.register_buffer('weights', weights, persistent=False)

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Return the loss of values and masks, float `[B, 4096]` both."""
        self.seed_step()
        values, mask = batch
        mean, log_var = self.model.encode(values, mask)
        code = sample_code(mean, log_var)
        error = masked_error(self.model.decode(code), values, mask * self.weights)
        divergence = self.beta * free_divergence(mean, log_var)
        loss = error + divergence
        self.log_dict({'loss': loss, 'mse': error, 'kl': divergence}, prog_bar=True)
        return loss

    @property
    def beta(self) -> float:
        """Return the weight of the divergence at this step."""
        rise = min(max((self.progress - KL_FROM) / (KL_UNTIL - KL_FROM), 0.0), 1.0)
        return self.config.beta * rise

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        """Log the explained variance of held-out contexts."""
        values, mask = batch
        decoded = self.model.decode(self.model.encode(values, mask)[0])
        self.log('val_r2', explained_variance(decoded, values, mask), prog_bar=True)


def free_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the mean divergence from the unit Gaussian, nats per dimension.

    The divergence of each dimension, averaged over the batch `[B, D]`, counts as at least
    `FREE_NATS`.
    """
    return kl_divergence(mean, log_var).mean(0).clamp_min(FREE_NATS).mean()
