# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loss and validation of models of sound."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from sage_perception.models.networks.audio import AudioVAE
from sage_perception.models.networks.audio.model import explained_variance
from sage_perception.models.networks.divergence import kl_divergence
from sage_perception.training.module import TrainingModule
from sage_perception.training.tasks.audio.data import Batch

ERROR_WEIGHT = 30.0
"""Weight of the squared error of the spectrogram against the cross-entropy of the label."""
SMOOTHING = 0.05
"""Share of the label that is distributed over all labels (Szegedy et al., 2016)."""
MAX_GRADIENT = 1.0


class AudioModule(TrainingModule):
    """A model of sound in training: it reconstructs spectrograms and recognizes their words."""

    MONITOR = 'val_accuracy'
    model: AudioVAE

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of changed spectrograms, their targets and labels."""
        self.seed_step(self.global_rank)
        x, target, label = batch
        output = self.model(x)
        kl = kl_divergence(output.mean, output.log_var).sum(1).mean()
        terms = {
            'error': ERROR_WEIGHT * mse_loss(output.mel, target),
            'label': cross_entropy(output.logits, label, label_smoothing=SMOOTHING),
            'kl': self.config.beta * kl,
        }
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({'loss': loss, **terms}, prog_bar=True)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Limit the norm of the gradient."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        """Log the accuracy and R² of spectrograms of held-out voices."""
        x, label = batch
        output = self.model(x)
        accuracy = (output.logits.argmax(1) == label).float().mean()
        r2 = explained_variance(x, output.mel.clamp(0, 1))
        self.log_dict({'val_accuracy': accuracy, 'val_r2': r2}, prog_bar=True)
