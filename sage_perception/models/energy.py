# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reconstruction energy of crops as a function of latents, with its gradient, on torch."""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch

from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD, Artifact, ModelError
from sage_perception.models.backends.torch_backend import build
from sage_perception.models.networks.memory_format import with_memory_format

SAMPLES = 4  # latents over which the curvature is averaged
WIDTH = 0.25  # step of its finite differences, standard deviations of a latent


class ReconstructionEnergy:
    """The mean squared error between crops and decoded latents.

    Sets torch to one CPU thread, as in the ONNX Runtime backend: compute budgets are per thread,
    and other nodes use the other cores. Raises `ModelError` for a model with a spatial latent.

    Attributes
    ----------
    metric : np.ndarray
        Inverse of the mean Gauss-Newton curvature 2 JᵀJ / N of the energy over typical latents,
        float32 `[D, D]`. Multiplied by a gradient it yields a step in units of the latents
        (preconditioning).

    """

    def __init__(self, artifact: Artifact, device: str = 'cpu'):
        mean, std = artifact.tensors[LATENT_MEAN], artifact.tensors[LATENT_STD]
        if mean.ndim != 1:
            raise ModelError(
                f'{artifact.id.name} has latents of shape {list(mean.shape)}: '
                'refinement needs a model with latents [D], such as tinyvae'
            )
        module = with_memory_format(build(artifact).to(device), torch.channels_last)
        self._decoder = module.eval().requires_grad_(False).get_submodule('decoder')
        self._device = device
        torch.set_num_threads(1)
        rng = np.random.default_rng(0)
        typical = mean + std * rng.standard_normal((SAMPLES, mean.size))
        width = self._tensor(WIDTH * std)
        curvatures = (self._curvature(z, width) for z in self._tensor(typical))
        curvature = reduce(torch.add, curvatures) / SAMPLES
        self.metric: np.ndarray = torch.linalg.inv(curvature).cpu().numpy()

    def __call__(self, z: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the energies `[B]` and their gradients `[B, D]`, float32.

        `z` are latents `[B, D]`, `x` crops `[B, C, S, S]` in [0, 1]. The energy is that of decoded
        images clamped to [0, 1], as a receiver decodes them. The gradient ignores the clamp, so
        that wrongly saturated pixels still contribute.
        """
        latents = self._tensor(z).requires_grad_()
        with torch.enable_grad():
            decoded = self._decoder(latents)
        error = decoded.detach().clamp(0, 1) - self._tensor(x)
        energy = error.square().mean((1, 2, 3))
        weight = 2 / error[0].numel()
        (gradient,) = torch.autograd.grad(decoded, latents, weight * error)
        return energy.cpu().numpy(), gradient.cpu().numpy()

    @torch.inference_mode()
    def _curvature(self, z: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        plus, minus = self._decoder(torch.cat((z + width.diag(), z - width.diag()))).chunk(2)
        slopes = (plus - minus).flatten(1) / (2 * width[:, None])  # [D, N]
        return 2 * slopes @ slopes.T / slopes.shape[1]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array, np.float32), device=self._device)
