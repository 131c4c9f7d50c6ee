# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models on torch: for GPUs, half precision, and callers that need tensors or gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sage_perception.core.text import one_line
from sage_perception.models.artifact import Artifact, ModelError
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor
from sage_perception.models.loaded import LoadedModel
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.networks.h_to_l import HToLCompressor
from sage_perception.models.networks.vae import VAE

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16}

Array = TypeVar('Array', np.ndarray, Tensor)


class TorchModel(LoadedModel):
    """A model on torch, in inference mode; `module` is the network."""

    backend = 'torch'
    module: nn.Module

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, available_device(device), precision)
        self.module = build(artifact).to(self.device, DTYPES[precision]).eval()

    def _to_module(self, given: np.ndarray | Tensor) -> Tensor:
        """Return an array or tensor on the device and in the precision of the module."""
        return torch.as_tensor(given).to(self.device, DTYPES[self.precision])


class TorchCodec(TorchModel, Codec):
    """A model of images on torch; for tensors it returns tensors on the device of the input."""

    module: VAE

    def encode_stats(self, x: Array) -> tuple[Array, Array]:
        """Return mean and log-variance of the latents, float32 `[B, D]`; natural logarithm."""
        x = array_or_tensor(x)
        self.require_images(x)
        mean, log_var = self._run(self.module.encode, x)
        return mean, log_var

    def decode(self, z: Array) -> Array:
        """Return the images of latents, float32 `[B, C, S, S]` in [0, 1]."""
        z = array_or_tensor(z)
        self.require_latents(z)
        return self._run(lambda z: [self.module.decode(z)], z)[0]

    def interpolate(self, a: Array, b: Array, steps: int) -> Array:
        """Return the images between latents `a` and `b`; tensors for tensors."""
        first, last = (torch.as_tensor(latent).numpy(force=True) for latent in (a, b))
        images = super().interpolate(first, last, steps)
        if isinstance(a, Tensor):
            return torch.from_numpy(images).to(a.device)
        return images

    @torch.inference_mode()
    def _run(self, function: Callable[[Tensor], Sequence[Tensor]], given: Array) -> list[Array]:
        tensor = torch.as_tensor(given)
        if not len(tensor):  # not all layers support an empty batch
            blank = self._run(function, torch.zeros(1, *tensor.shape[1:], device=tensor.device))
            results = [result[:0] for result in blank]
        else:
            results = [r.float().to(tensor.device) for r in function(self._to_module(tensor))]
        if isinstance(given, Tensor):
            return results
        return [result.numpy() for result in results]


class TorchCompressor(TorchModel, Compressor):
    """A compressor of contexts on torch."""

    module: HToLCompressor

    def _encode(self, context: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, log_var = self._run(self.module.encode, context, mask)
        return mean, log_var

    def _decode(self, code: np.ndarray) -> np.ndarray:
        return self._run(lambda z: [self.module.decode(z)], code)[0]

    @torch.inference_mode()
    def _run(
        self, function: Callable[..., Sequence[Tensor]], *given: np.ndarray
    ) -> list[np.ndarray]:
        results = function(*map(self._to_module, given))
        return [result.float().cpu().numpy() for result in results]


def array_or_tensor(given: Any) -> Any:
    """Return a tensor unchanged and anything else as an array."""
    return given if isinstance(given, Tensor) else np.asarray(given)


def available_device(device: str) -> str:
    """Return the device to use; raise `ModelError` if it is not available to torch."""
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device == 'cuda' and not torch.cuda.is_available():
        raise ModelError('device cuda is not available to torch here: use device cpu')
    return device


def build(artifact: Artifact) -> nn.Module:
    """Return the network of an artifact with its weights, on the CPU, in float32.

    Raises `ModelError` for a family or a configuration that this version does not support.
    """
    if artifact.family not in FAMILIES:
        raise ModelError(
            f'{artifact.path} is of family {artifact.family!r}, '
            f'it must be one of {", ".join(FAMILIES)}'
        )
    family = FAMILIES[artifact.family]
    try:
        weights = {
            family.current_name(name): torch.from_numpy(tensor)
            for name, tensor in artifact.tensors.items()
            if not name.startswith('latent.')
        }
        module = family.network(family.config(**artifact.config))
        module.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f'{artifact.path} is not a {artifact.family} of this version of sage: '
            f'{one_line(error)}'
        ) from error
    return module
