# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Distillation: a small network learns from images and from what a large one makes of them.

Five terms, as specification 002 (§7.2) lists them: reconstruction, divergence, the teacher's
latents, the teacher's images, and likeness in the features of a network trained on ImageNet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.training.config import (
    ConfigError,
    DistillationConfig,
    RunConfig,
    TrainingConfig,
)
from sage_perception.training.losses import perceptual
from sage_perception.training.runs import load_network
from sage_perception.training.tasks.vae import Task

# What turns a term into as much as squared error: with these the gradients at a trained TinyVAE's
# latents are about as long as that of reconstruction (bench/distillation.py --scales).
LATENT_SCALE = 1.5e-3
PERCEPTUAL_SCALE = 6e-3
FITTED_CROPS = 2048  # that the projection's start is fitted to


class Teacher:
    """A trained network that is asked and not trained.

    No part of the modules that ask it, so that their checkpoints do not hold it.
    """

    def __init__(self, network: nn.Module):
        self.network = network.requires_grad_(False).eval()
        self.network.to(memory_format=torch.channels_last)

    def __deepcopy__(self, _):
        return self  # the copy whose weights are averaged asks the same one

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance, `[B, T…]`, of images `[B, C, S, S]`."""
        return self.network.to(x.device).encode(x)

    @torch.no_grad()
    def decode(self, mean: Tensor) -> Tensor:
        """Return the images in [0, 1] of latents `[B, T…]`."""
        return self.network.decode(mean)


class Projection(nn.Module):
    """What a student's latent says of the teacher's: a linear map, and the variance it leaves.

    The teacher's number j is taken for Gaussian around Σᵢ wⱼᵢ zᵢ + bⱼ, its variance that of the
    student's code, carried over, and a trained one for what the student's fewer numbers cannot
    tell. Without the latter the student could only explain its misses by blurring its own code.
    There is no map back: one from the teacher's numbers to the student's is trained best by
    letting both shrink to zero.
    """

    def __init__(self, student: int, teacher: int):
        super().__init__()
        self.linear = nn.Linear(student, teacher)
        self.log_rest = nn.Parameter(torch.zeros(teacher))

    def forward(self, mean: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
        """Map a student's mean and log-variance `[B, S]` to mean and variance `[B, T]`."""
        carried = log_var.exp() @ self.linear.weight.square().T
        return self.linear(mean), carried + self.log_rest.exp()

    @torch.no_grad()
    def fit(self, student: Tensor, teacher: Tensor, var: Tensor, temperature: float) -> None:
        """Start at the least-squares map from means `[N, S]` to means `[N, T]`.

        The variance starts where the divergence is least, see `softened_divergence`, for a
        teacher whose codes have variances `var` `[N, T]`.
        """
        inputs = torch.cat((student, torch.ones(len(student), 1)), 1)
        solution = torch.linalg.lstsq(inputs, teacher, driver='gelsd').solution
        self.linear.weight.copy_(solution[:-1].T)
        self.linear.bias.copy_(solution[-1])
        missed = (teacher - inputs @ solution).square().mean(0)
        self.log_rest.copy_((var.mean(0) + missed / temperature**2).log())


def softened_divergence(
    mean_p: Tensor, var_p: Tensor, mean_q: Tensor, var_q: Tensor, temperature: float
) -> Tensor:
    """Return T² KL(p ‖ q) `[…]`, nats, of Gaussians whose variances are multiplied by T².

    That is how a temperature softens a Gaussian: a density to the power 1/T², normalized. T² in
    front keeps the gradient of the means on its scale (Hinton, Vinyals and Dean, Distilling the
    Knowledge in a Neural Network, 2015):

        T²/2 · (ln(var_q/var_p) + var_p/var_q − 1) + (mean_p − mean_q)² / (2 var_q)

    T weighs the spread against the means. Where var_q is free, its best value is
    var_p + (mean_p − mean_q)²/T²: at T = 1 the misses count for what they are, as in maximum
    likelihood, and what cannot be told is given up; the higher T, the more each number weighs
    by how finely p resolves it.
    """
    ratio = var_p / var_q
    spread = ratio - 1 - ratio.log()
    return 0.5 * (temperature**2 * spread + (mean_p - mean_q).square() / var_q)


class Distiller(Task):
    """A network that learns from a teacher too; see `DistillationConfig` for its terms.

    Where its share of a term is 0 neither the term nor what it needs is computed or loaded.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        distillation: DistillationConfig,
        teacher: nn.Module | None,
    ):
        super().__init__(model, config)
        self.distillation = distillation
        self.teacher = Teacher(teacher) if teacher is not None else None
        self.projection = None
        if distillation.latent:
            size, channels = model.config.img_size, model.config.input_channels
            image = torch.zeros(1, channels, size, size)
            with torch.no_grad():
                numbers = [m.get_latents(image).numel() for m in (model, self.teacher.network)]
            self.projection = Projection(*numbers)

    @torch.no_grad()
    def fit_projection(self, x: Tensor) -> None:
        """Start the projection at what fits the latents of images `[N, C, S, S]` best."""
        parts = [
            (self.model.get_latents(part), *self.teacher.encode(part)) for part in x.split(64)
        ]
        student, teacher, log_var = (
            torch.cat(kind).flatten(1) for kind in zip(*parts, strict=True)
        )
        self.projection.fit(student, teacher, log_var.exp(), self.distillation.temperature)

    def terms(self, x: Tensor, y: Tensor, mean: Tensor, log_var: Tensor) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name; see `Trainee.terms`."""
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
        asked = max(1, round(weights.asked * len(x)))
        x, y, mean, log_var = (part[:asked] for part in (x, y, mean, log_var))
        if self.teacher is not None:
            code, log_spread = self.teacher.encode(x)
        if weights.latent:
            guess, spread = self.projection(mean.flatten(1), log_var.flatten(1))
            told = code.flatten(1), log_spread.flatten(1).exp()
            apart = softened_divergence(*told, guess, spread, weights.temperature).mean()
            terms['latent'] = weights.latent / unit * LATENT_SCALE * apart
        if weights.output:
            apart = self.error(y, self.teacher.decode(code))
            terms['output'] = weights.output / unit * apart
        if weights.perceptual:
            apart = perceptual.perceptual_distance(y, x).mean()
            terms['perceptual'] = weights.perceptual / unit * PERCEPTUAL_SCALE * apart
        return terms


def new_distiller(model: nn.Module, config: RunConfig) -> Distiller:
    """Return what trains `model` as a configuration with a section `distillation` says."""
    wanted = config.distillation
    if wanted.perceptual and not perceptual.installed():
        raise ConfigError(
            f'distillation.perceptual needs its network: {perceptual.FIX}; or set it to 0'
        )
    teacher = None
    if wanted.latent or wanted.output:
        teacher = load_network(wanted.teacher)
        for name in ('img_size', 'input_channels'):
            theirs, ours = getattr(teacher.config, name), getattr(config.model, name)
            if theirs != ours:
                raise ConfigError(
                    f'distillation.teacher: {wanted.teacher} has {name} {theirs}, model {ours}'
                )
    return Distiller(model, config.training, wanted, teacher)
