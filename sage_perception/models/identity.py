# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The identity head of a model: its latents to codes that compare as "same thing or not".

A head belongs to one latent space and is part of the model folder:

    identity.safetensors   weights, float16; metadata: fingerprint of the latent space, thresholds
    identity.onnx          the same function as a graph, z → code, for other runtimes

A code has two halves: that of the trained network, and the centered and weighted latent. It is
computed by the receiver of a latent, or by its sender: nothing more is transmitted. The
network has 0.3 million multiplications a latent, so numpy is as fast as a runtime.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sage_perception.core.discrimination import interpolated_threshold
from sage_perception.core.files import replacing
from sage_perception.models.artifact import ModelError
from sage_perception.models.tensor_file import opened

WEIGHTS = 'identity.safetensors'
GRAPH = 'identity.onnx'
MAX_BYTES = 16 << 20
"""Maximum size of the file; that of TinyVAE has 0.7 MB."""
FIX = 'install the model again, or run `sage export` on the configuration of its identity head'
_LAYERS = ('linear', 'layers.0', 'layers.1', 'layers.2')
_NAMES = (
    'weights',
    'head.mean',
    'head.std',
    *(f'head.{name}.{kind}' for name in _LAYERS for kind in ('weight', 'bias')),
)


@dataclass(frozen=True, eq=False)
class IdentityHead:
    """A loaded head.

    `thresholds` maps false positive rates, increasing, to the cosine of two codes that at most
    this share of pairs of different things exceeds: different places of one training image, seen
    in two views. Some of these places look alike, such as two parts of a sky, so fewer pairs of
    different objects exceed it.
    """

    tensors: Mapping[str, np.ndarray]
    thresholds: Mapping[float, float]

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the tensors, hexadecimal: what is fitted to a head names it."""
        found = hashlib.sha256()
        for name in sorted(self.tensors):
            found.update(name.encode() + np.ascontiguousarray(self.tensors[name]).tobytes())
        return found.hexdigest()

    @cached_property
    def _factors(self) -> dict[str, np.ndarray]:
        """Return the tensors by their names in the head; matrices are transposed and contiguous.

        For a few latents, OpenBLAS multiplies with them four times as fast as with a transposed
        view.
        """
        return {
            name.removeprefix('head.'): np.ascontiguousarray(values.T)
            for name, values in self.tensors.items()
        }

    @property
    def code_dim(self) -> int:
        """Return C, the number of dimensions of a code."""
        return int(self.tensors['head.linear.bias'].size + self.tensors['weights'].size)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Return the codes of latents `[N, D]`, float32 `[N, C]` of length 1; N may be 0.

        A latent whose values are not finite has a code of zeros, which is similar to nothing.
        """
        t = self._factors
        with np.errstate(invalid='ignore', over='ignore'):
            centered = np.asarray(z, np.float32) - t['mean']
            x = centered / t['std']
            hidden = x
            for name in ('layers.0', 'layers.1'):
                hidden = np.maximum(hidden @ t[f'{name}.weight'] + t[f'{name}.bias'], 0)
            code = x @ t['linear.weight'] + t['linear.bias']
            code = code + hidden @ t['layers.2.weight'] + t['layers.2.bias']
            halves = [_unit(code), _unit(centered * t['weights'])]
        codes = np.concatenate(halves, axis=1) * np.float32(np.sqrt(0.5))
        finite = np.isfinite(codes).all(axis=1, keepdims=True)
        return np.where(finite, codes, 0).astype(np.float32)

    def threshold(self, false_positive_rate: float) -> float:
        """Return the cosine above which two latents are taken for the same thing.

        See `interpolated_threshold`.
        """
        return interpolated_threshold(self.thresholds, false_positive_rate)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return vectors / np.maximum(length, np.finfo(np.float32).tiny)


def write(
    folder: Path,
    fingerprint: bytes,
    tensors: Mapping[str, np.ndarray],
    thresholds: Mapping[float, float],
) -> None:
    """Write `identity.safetensors` to the folder of the model with the latent space."""
    metadata = {
        'fingerprint': fingerprint.hex(),
        'thresholds': json.dumps({str(rate): value for rate, value in thresholds.items()}),
    }
    with replacing(folder / WEIGHTS) as part:
        save_file(dict(tensors), part, metadata)


def read(folder: Path, fingerprint: bytes, latent_dim: int) -> IdentityHead | None:
    """Read the head of the model in a folder; None if the model has none.

    Raises `ModelError` for a damaged file or one of another latent space.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        return None
    with opened(path, MAX_BYTES, FIX) as file:
        tensors = {name: file.tensor(name) for name in _NAMES}
        declared = file.metadata['fingerprint']
        pairs = json.loads(file.metadata['thresholds']).items()
        thresholds = {float(rate): float(value) for rate, value in pairs}
    if declared != fingerprint.hex():
        raise ModelError(
            f'{path} is of the latent space {declared[:8]}, the model is of '
            f'{fingerprint.hex()[:8]}: {FIX}'
        )
    head = IdentityHead(tensors, thresholds)
    _check(head, latent_dim, path)
    return head


def _check(head: IdentityHead, latent_dim: int, path: Path) -> None:
    """Raise `ModelError` unless the shapes and the values of a head fit together."""
    t = head.tensors
    hidden, code = t['head.layers.0.bias'].size, t['head.linear.bias'].size
    shapes = {
        'weights': (latent_dim,),
        'head.mean': (latent_dim,),
        'head.std': (latent_dim,),
        'head.linear.weight': (code, latent_dim),
        'head.linear.bias': (code,),
        'head.layers.0.weight': (hidden, latent_dim),
        'head.layers.0.bias': (hidden,),
        'head.layers.1.weight': (hidden, hidden),
        'head.layers.1.bias': (hidden,),
        'head.layers.2.weight': (code, hidden),
        'head.layers.2.bias': (code,),
    }
    for name, shape in shapes.items():
        if t[name].shape != shape or not np.isfinite(t[name]).all():
            raise ModelError(f'{path}: {name} is damaged or not of shape {list(shape)}; {FIX}')
    rates = list(head.thresholds)
    valid = all(0 < rate < 1 for rate in rates) and np.isfinite([*head.thresholds.values()]).all()
    if not rates or not valid or (t['head.std'] <= 0).any():
        raise ModelError(f'{path}: the thresholds or the statistics are damaged; {FIX}')
