# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A network and how it learns: loss, validation, optimizer."""

from __future__ import annotations

import math

import lightning
import torch
from torch import Tensor, nn

from sage_perception.training.config import TrainingConfig
from sage_perception.training.losses import images as losses


class Task(lightning.LightningModule):
    """A network and how it learns; its encoder learns only if its parameters want gradients."""

    JUDGED_BY = 'val_psnr'
    """The figure of the validation that tells whether it still improves: the more the better."""

    def __init__(self, model: nn.Module, config: TrainingConfig):
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.config = config

    def training_step(self, x: Tensor, _) -> Tensor:
        """Return the loss of a batch, float `[B, C, S, S]`.

        Its noise depends on the step's number and the process alone, so that a resumed run is the
        same. The network computes in the precision that was asked for, the loss in full: in
        bfloat16 the variances of SSIM, small differences of large numbers, would be noise.
        """
        torch.manual_seed(
            self.config.seed * 1_000_003 + self.global_step + (self.global_rank << 48)
        )
        x = x.contiguous(memory_format=torch.channels_last)
        y, mean, log_var = (output.float() for output in self.model(x))
        with torch.autocast(x.device.type, enabled=False):
            terms = self.terms(x, y, mean, log_var)
        loss = sum(terms.values())
        self.log_dict({'loss': loss, **terms}, prog_bar=True)
        return loss

    def terms(self, x: Tensor, y: Tensor, mean: Tensor, log_var: Tensor) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name.

        `x` are images `[B, C, S, S]`, `y` what the network makes of them, `mean` and `log_var`
        `[B, D…]` their latents.
        """
        kl = losses.kl_divergence(mean, log_var).flatten(1).sum(1).mean()
        terms = {'error': self.error(y, x), 'kl': self.config.beta * kl}
        if self.progress >= self.config.ssim_from:
            terms['ssim'] = self.config.ssim_weight * (1 - losses.ssim(y, x).mean())
        return terms

    @property
    def progress(self) -> float:
        """Return the share of the run that is over."""
        return self.global_step / self.config.steps

    def error(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the mean error of images `y` where `x` was wanted.

        With `squared_first` a run begins with squared errors and ends with logarithmic ones: what
        is negligible falls from 1, each step by the same factor, until `ssim_from` of the run. The
        convolutions then learn on the busy crops what is worth something on all of them. With
        logarithmic errors they take thousands of steps to begin at all: so near zero they do the
        smooth crops, where the linear path is good, more harm than good.
        """
        if not self.config.squared_first:
            return losses.log_error(y, x).mean()
        fallen = min(self.progress / max(self.config.ssim_from, 1e-9), 1)
        return losses.log_error(y, x, losses.NEGLIGIBLE_ERROR**fallen).mean()

    def validation_step(self, x: Tensor, _) -> None:
        """Log how held-out crops come back, the mean over the crops of all processes."""
        y = self.model.reconstruct(x).float()
        with torch.autocast(x.device.type, enabled=False):
            scores = {'psnr': losses.psnr(y, x), 'ssim': losses.ssim(y, x)}
        means = {f'val_{name}': score.mean() for name, score in scores.items()}
        self.log_dict(means, prog_bar=True, sync_dist=True)

    def configure_optimizers(self):
        """Return AdamW with a warm-up and a cosine decay (Loshchilov and Hutter, 2017)."""
        optimizer = torch.optim.AdamW(
            [p for p in self.parameters() if p.requires_grad],
            self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )

        def factor(step):
            warm = min((step + 1) / self.config.warmup, 1)
            return warm * 0.5 * (1 + math.cos(math.pi * min(step / self.config.steps, 1)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }
