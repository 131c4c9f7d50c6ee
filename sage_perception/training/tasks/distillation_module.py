# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Losses of distillation: a small network learns from images and from a teacher.

Five terms, as specification 002 (§7.2) lists them: reconstruction, KL divergence, the latents of
the teacher, the images of the teacher, and the perceptual distance.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.models.networks.vae import VAE
from sage_perception.training.config import DistillationConfig, TrainingConfig
from sage_perception.training.losses import perceptual
from sage_perception.training.tasks.vae_module import VaeModule

# Factors that bring terms to the scale of squared error: with them, the gradients at the latents
# of a trained TinyVAE are about as long as that of reconstruction
# (bench/distillation.py --scales).
LATENT_SCALE = 1.5e-3
PERCEPTUAL_SCALE = 6e-3


class Teacher:
    """A frozen network.

    It is not a submodule of the modules that use it, so that their checkpoints do not contain it.
    """

    def __init__(self, network: VAE):
        self.network = with_memory_format(
            network.requires_grad_(False).eval(), torch.channels_last
        )

    def __deepcopy__(self, _: dict[int, Any]) -> Teacher:
        return self  # the copy with averaged weights shares the teacher

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, `[B, T…]`, of images `[B, C, S, S]`."""
        return self.network.to(x.device).encode(x)

    @torch.no_grad()
    def decode(self, mean: Tensor) -> Tensor:
        """Return the images in [0, 1] of latents `[B, T…]`."""
        return self.network.decode(mean)


class Projection(nn.Module):
    """A linear map from the latent of the student to that of the teacher, with a variance.

    Dimension j of the teacher's latent is modeled as Gaussian around Σᵢ wⱼᵢ zᵢ + bⱼ. Its variance
    is the propagated variance of the student's code plus a trained residual variance, because the
    student has fewer dimensions. Without the residual the student could account for its errors
    only by increasing the variance of its code. There is no map from teacher to student: shrinking
    both latents to zero would minimize its loss.
    """

    def __init__(self, student: int, teacher: int):
        super().__init__()
        self.linear = nn.Linear(student, teacher)
        self.log_rest = nn.Parameter(torch.zeros(teacher))

    def forward(self, mean: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
        """Map mean and log-variance `[B, S]` of a student to mean and variance `[B, T]`."""
        propagated = log_var.exp() @ self.linear.weight.square().T
        return self.linear(mean), propagated + self.log_rest.exp()

    @torch.no_grad()
    def fit(self, student: Tensor, teacher: Tensor, var: Tensor, temperature: float) -> None:
        """Set the map to least squares from means `[N, S]` to means `[N, T]`.

        The residual variance minimizes the divergence (`softened_divergence`) for a teacher whose
        codes have variances `var` `[N, T]`.
        """
        inputs = torch.cat((student, torch.ones(len(student), 1)), 1)
        solution = torch.linalg.lstsq(inputs, teacher, driver='gelsd').solution
        self.linear.weight.copy_(solution[:-1].T)
        self.linear.bias.copy_(solution[-1])
        residual = (teacher - inputs @ solution).square().mean(0)
        self.log_rest.copy_((var.mean(0) + residual / temperature**2).log())


def softened_divergence(
    mean_p: Tensor, var_p: Tensor, mean_q: Tensor, var_q: Tensor, temperature: float
) -> Tensor:
    """Return T² KL(p ‖ q) `[…]`, nats, of Gaussians whose variances are multiplied by T².

    This is the effect of a temperature on a Gaussian: a density to the power 1/T², normalized. The
    factor T² keeps the gradient of the means on its scale (Hinton, Vinyals and Dean, Distilling
    the Knowledge in a Neural Network, 2015):

        T²/2 · (ln(var_q/var_p) + var_p/var_q − 1) + (mean_p − mean_q)² / (2 var_q)

    T weights the variances against the means. The optimal var_q is var_p + (mean_p − mean_q)²/T².
    At T = 1 errors of the mean have their full weight, as in maximum likelihood, and q widens
    where it cannot predict p. With a higher T, the weight of a dimension depends more on the
    variance of p in it.
    """
    ratio = var_p / var_q
    spread = ratio - 1 - ratio.log()
    return 0.5 * (temperature**2 * spread + (mean_p - mean_q).square() / var_q)


class DistillationModule(VaeModule):
    """A network that also learns from a teacher; `DistillationConfig` describes the terms.

    A term with weight 0 is not computed, and the networks that only it needs are not loaded.
    """

    def __init__(
        self,
        model: VAE,
        config: TrainingConfig,
        distillation: DistillationConfig,
        teacher: VAE | None,
    ):
        super().__init__(model, config)
        self.distillation = distillation
        self.teacher = Teacher(teacher) if teacher is not None else None
        self.projection: Projection | None = None
        if distillation.latent and self.teacher is not None:
            size, channels = model.config.img_size, model.config.input_channels
            image = torch.zeros(1, channels, size, size)
            with torch.no_grad():
                dims = [m.get_latents(image).numel() for m in (model, self.teacher.network)]
            self.projection = Projection(*dims)

    @torch.no_grad()
    def fit_projection(self, x: Tensor) -> None:
        """Set the projection to the best fit for the latents of images `[N, C, S, S]`."""
        assert self.teacher is not None
        assert self.projection is not None
        parts = [
            (self.model.get_latents(part), *self.teacher.encode(part)) for part in x.split(64)
        ]
        student, teacher, log_var = (
            torch.cat(tensors).flatten(1) for tensors in zip(*parts, strict=True)
        )
        self.projection.fit(student, teacher, log_var.exp(), self.distillation.temperature)

    def terms(self, x: Tensor, y: Tensor, mean: Tensor, log_var: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name, as `VaeModule.terms` does."""
        weights = self.distillation
        unit = DistillationConfig.reconstruction
        factors = {
            'error': weights.reconstruction / unit,
            'kl': weights.kl / DistillationConfig.kl,
        }
        terms = {
            name: factors.get(name, 1) * term
            for name, term in super().terms(x, y, mean, log_var).items()
            if factors.get(name, 1)
        }
        count = max(1, round(weights.batch_share * len(x)))
        x, y, mean, log_var = (part[:count] for part in (x, y, mean, log_var))
        if self.teacher is not None:
            code, code_log_var = self.teacher.encode(x)
            if weights.latent and self.projection is not None:
                predicted, var = self.projection(mean.flatten(1), log_var.flatten(1))
                target, target_var = code.flatten(1), code_log_var.flatten(1).exp()
                divergence = softened_divergence(
                    target, target_var, predicted, var, weights.temperature
                ).mean()
                terms['latent'] = weights.latent / unit * LATENT_SCALE * divergence
            if weights.output:
                error = self.error(y, self.teacher.decode(code))
                terms['output'] = weights.output / unit * error
        if weights.perceptual:
            distance = perceptual.perceptual_distance(y, x).mean()
            terms['perceptual'] = weights.perceptual / unit * PERCEPTUAL_SCALE * distance
        return terms
