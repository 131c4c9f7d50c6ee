# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models on torch: for GPUs, half precision, and whoever needs tensors or gradients."""

from __future__ import annotations

import numpy as np
import torch

from sage_perception.models.artifact import Artifact, ModelError
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor
from sage_perception.models.loaded import LoadedModel
from sage_perception.models.networks.families import FAMILIES

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16}


class TorchModel(LoadedModel):
    """A model computed by torch, in inference mode; `module` is the network itself."""

    backend = 'torch'

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, available_device(device), precision)
        self.module = build(artifact).to(self.device, DTYPES[precision]).eval()

    def _here(self, given) -> torch.Tensor:
        """Return an array or tensor where the network is, in its precision."""
        return torch.as_tensor(given).to(self.device, DTYPES[self.precision])


class TorchCodec(TorchModel, Codec):
    """A model of images on torch: of tensors it makes tensors, on the device of the input."""

    def encode_stats(self, x):
        """Return mean and logarithm of the variance, float32 `[B, D…]`."""
        x = array_or_tensor(x)
        self.require_images(x)
        mean, log_var = self._run(self.module.encode, x)
        return mean, log_var

    def decode(self, z):
        """Return images, float32 `[B, C, S, S]` in [0, 1]."""
        z = array_or_tensor(z)
        self.require_latents(z)
        return self._run(lambda z: [self.module.decode(z)], z)[0]

    def interpolate(self, a, b, steps):
        """Return the images on the way from latent `a` to `b`: tensors if they are tensors."""
        ends = [torch.as_tensor(latent).numpy(force=True) for latent in (a, b)]
        images = super().interpolate(*ends, steps)
        if isinstance(a, torch.Tensor):
            return torch.from_numpy(images).to(a.device)
        return images

    @torch.inference_mode()
    def _run(self, function, given):
        tensor = torch.as_tensor(given)
        if not len(tensor):  # which not every layer takes
            blank = self._run(function, torch.zeros(1, *tensor.shape[1:], device=tensor.device))
            results = [result[:0] for result in blank]
        else:
            results = [r.float().to(tensor.device) for r in function(self._here(tensor))]
        if isinstance(given, torch.Tensor):
            return results
        return [result.numpy() for result in results]


class TorchCompressor(TorchModel, Compressor):
    """A compressor of contexts on torch."""

    def _encode(self, context, mask):
        return self._run(self.module.encode, context, mask)

    def _decode(self, code):
        return self._run(lambda z: [self.module.decode(z)], code)[0]

    @torch.inference_mode()
    def _run(self, function, *given):
        results = function(*map(self._here, given))
        return [result.float().cpu().numpy() for result in results]


def array_or_tensor(given) -> np.ndarray | torch.Tensor:
    """Return a tensor as it is and anything else as an array."""
    return given if isinstance(given, torch.Tensor) else np.asarray(given)


def available_device(device: str) -> str:
    """Return the device to compute on; `ModelError` when torch does not have it here."""
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device == 'cuda' and not torch.cuda.is_available():
        raise ModelError('device cuda is not available to torch here: use device cpu')
    return device


def build(artifact: Artifact) -> torch.nn.Module:
    """Return the network of an artifact with its weights, on the CPU, in float32.

    Raises `ModelError` for a family or a configuration that this version does not know.
    """
    if artifact.family not in FAMILIES:
        raise ModelError(
            f'{artifact.path} is of family {artifact.family!r}, known are {sorted(FAMILIES)}'
        )
    family = FAMILIES[artifact.family]
    weights = {
        family.current_name(name): torch.from_numpy(tensor)
        for name, tensor in artifact.tensors.items()
        if not name.startswith('latent.')
    }
    try:
        module = family.network(family.config(**artifact.config))
        module.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f'{artifact.path} is no {artifact.family} of this version of sage: '
            f'{" ".join(str(error).split())}'
        ) from error
    return module
