# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reconstruction energy of crops over the latents of a model, with its slope, on torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD, Artifact, ModelError
from sage_perception.models.backends.torch_backend import build

SAMPLES = 4  # latents that the curvature is averaged over
WIDTH = 0.25  # of the differences it is measured by, in standard deviations of a latent


class Landscape:
    """The mean squared error between crops and what a decoder makes of latents.

    On a CPU it has torch compute on one thread, as the ONNX Runtime backend does: budgets are of
    one thread, and the other cores are other nodes'.

    Attributes
    ----------
    metric : np.ndarray
        The inverse of the energy's mean Gauss-Newton curvature 2 JᵀJ / N over typical latents,
        float32 `[D, D]`: a gradient times it is a step in the units of the latents, and long
        valleys become round.

    """

    def __init__(self, artifact: Artifact, device: str = 'cpu'):
        module = build(artifact).to(device, memory_format=torch.channels_last).eval()
        self._decoder: Callable = module.requires_grad_(False).decoder
        self._device = device
        torch.set_num_threads(1)
        mean, std = artifact.tensors[LATENT_MEAN], artifact.tensors[LATENT_STD]
        if mean.ndim != 1:
            raise ModelError(
                f'{artifact.id.name} has latents {list(mean.shape)}: only latents [D] are refined'
            )
        rng = np.random.default_rng(0)
        typical = mean + std * rng.standard_normal((SAMPLES, mean.size))
        width = self._tensor(WIDTH * std)
        curvature = sum(self._curvature(z, width) for z in self._tensor(typical)) / SAMPLES
        self.metric: np.ndarray = torch.linalg.inv(curvature).cpu().numpy()

    def __call__(self, z: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the energies `[B]` and their gradients `[B, D]`, float32.

        `z` are latents `[B, D]`, `x` crops `[B, C, S, S]` in [0, 1]. The energy is of images
        clamped to [0, 1], as their receivers see them; the gradient passes the clamp by, so that
        a pixel which is saturated and should not be still pulls.
        """
        latents = self._tensor(z).requires_grad_()
        with torch.enable_grad():
            painted = self._decoder(latents)
        apart = painted.detach().clamp(0, 1) - self._tensor(x)
        energy = apart.square().mean((1, 2, 3))
        weight = 2 / apart[0].numel()
        (gradient,) = torch.autograd.grad(painted, latents, weight * apart)
        return energy.cpu().numpy(), gradient.cpu().numpy()

    @torch.inference_mode()
    def _curvature(self, z: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        there, back = self._decoder(torch.cat((z + width.diag(), z - width.diag()))).chunk(2)
        slopes = (there - back).flatten(1) / (2 * width[:, None])  # [D, N]
        return 2 * slopes @ slopes.T / slopes.shape[1]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array, np.float32), device=self._device)
