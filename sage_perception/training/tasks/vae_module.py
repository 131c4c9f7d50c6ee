# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loss and validation of variational autoencoders for images."""

from __future__ import annotations

import torch
from torch import Tensor

from sage_perception.models.networks.divergence import kl_divergence
from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.models.networks.vae import VAE
from sage_perception.training.config import TrainingConfig
from sage_perception.training.losses import images as losses
from sage_perception.training.module import TrainingModule


class VaeModule(TrainingModule):
    """A variational autoencoder in training; frozen parameters do not change."""

    MONITOR = 'val_psnr'
    model: VAE

    def __init__(self, model: VAE, config: TrainingConfig):
        super().__init__(with_memory_format(model, torch.channels_last), config)

    def training_step(self, x: Tensor, _: int) -> Tensor:
        """Return the loss of a batch, float `[B, C, S, S]`.

        The network computes in the configured precision and the loss in single precision: in
        bfloat16 the variances of SSIM, small differences of large values, would be lost in
        rounding.
        """
        self.seed_step(self.global_rank)
        x = x.contiguous(memory_format=torch.channels_last)
        y, mean, log_var = (output.float() for output in self.model(x))
        with torch.autocast(x.device.type, enabled=False):
            terms = self.terms(x, y, mean, log_var)
        loss = sum(terms.values(), torch.zeros((), device=x.device))
        self.log_dict({'loss': loss, **terms}, prog_bar=True)
        return loss

    def terms(self, x: Tensor, y: Tensor, mean: Tensor, log_var: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name.

        `x` are images `[B, C, S, S]`, `y` their reconstructions, `mean` and `log_var` `[B, D…]`
        their latents.
        """
        kl = kl_divergence(mean, log_var).flatten(1).sum(1).mean()
        terms = {'error': self.error(y, x), 'kl': self.config.beta * kl}
        if self.progress >= self.config.ssim_from:
            terms['ssim'] = self.config.ssim_weight * (1 - losses.ssim(y, x).mean())
        return terms

    def error(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the mean error of images `y` against their targets `x`.

        With `squared_first` the error starts as the squared error and becomes logarithmic: the
        negligible error falls geometrically from 1 to `NEGLIGIBLE_ERROR` until `ssim_from` of the
        run. The convolutions first learn features from busy crops that help on all crops. A
        logarithmic error delays this by thousands of steps: while the output of the convolutions
        is near zero, it penalizes their contribution to smooth crops, which the linear path
        already reconstructs well.
        """
        if not self.config.squared_first:
            return losses.log_error(y, x).mean()
        decay = min(self.progress / max(self.config.ssim_from, 1e-9), 1)
        return losses.log_error(y, x, losses.NEGLIGIBLE_ERROR**decay).mean()

    def validation_step(self, x: Tensor, _: int) -> None:
        """Log PSNR and SSIM of held-out crops, averaged over all processes."""
        y = self.model.reconstruct(x).float()
        with torch.autocast(x.device.type, enabled=False):
            scores = {'psnr': losses.psnr(y, x), 'ssim': losses.ssim(y, x)}
        means = {f'val_{name}': score.mean() for name, score in scores.items()}
        self.log_dict(means, prog_bar=True, sync_dist=True)
