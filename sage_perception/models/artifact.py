# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A model on disk: a folder with weights, configuration, ONNX graphs and a card.

    model.safetensors   all weights, float16, and the latents' mean and deviation over training
                        crops, float32
    encoder.onnx        x → mean, log_var
    decoder.onnx        z → y
    pca.safetensors     the principal components that the card compares the model with
    config.yaml         name, version, family, configuration, fingerprint, SHA-256 of the files
    card.md             data, command, figures, limits

Needs neither torch nor ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sage_perception.core.latent import ModelId

WEIGHTS = 'model.safetensors'
ENCODER = 'encoder.onnx'
DECODER = 'decoder.onnx'
PCA = 'pca.safetensors'
CONFIG = 'config.yaml'
CARD = 'card.md'

LATENT_MEAN = 'latent.mean'
LATENT_STD = 'latent.std'


class ModelError(ValueError):
    """A model that cannot be loaded or used: what, where, and the way out, in one line."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """A model folder that has been read and checked.

    `tensors` holds arrays by name, as they are stored: `encoder.*` and `decoder.*` float16 or
    float32, `latent.mean` and `latent.std` float32.
    """

    path: Path
    id: ModelId
    family: str
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    card: str

    @property
    def parameters(self) -> int:
        """Return the number of trained parameters, encoder and decoder together."""
        names = ('encoder.', 'decoder.')
        return sum(t.size for n, t in self.tensors.items() if n.startswith(names))


def fingerprint(family: str, config: dict[str, int], tensors: dict[str, np.ndarray]) -> bytes:
    """Return the SHA-256 that identifies a latent space.

    It covers what decides the numbers that an image becomes: family, configuration of the
    encoder, its weights and the latents' statistics, tensors in the order of their names, as
    little-endian bytes. The decoder is left out, so that a larger one for the same latents does
    not change the space; its file has its own SHA-256 in the configuration.
    """
    shape = {key: value for key, value in config.items() if not key.startswith('decoder_')}
    digest = hashlib.sha256(json.dumps([family, shape], sort_keys=True).encode())
    for name in sorted(tensors):
        if name.startswith(('encoder.', 'latent.')):
            tensor = tensors[name]
            little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder('<'))
            digest.update(f'{name} {little.dtype.str} {list(tensor.shape)}\n'.encode())
            digest.update(little.tobytes())
    return digest.digest()


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(path: Path) -> Artifact:
    """Read and check a model folder; `ModelError` if anything is missing or altered."""
    try:
        tree = yaml.safe_load((path / CONFIG).read_text())
        name, version, family = tree['name'], tree['version'], tree['family']
        config, files = dict(tree['config']), dict(tree['files'])
        declared = bytes.fromhex(tree['fingerprint'])
    except FileNotFoundError:
        raise ModelError(f'{path / CONFIG} is missing: {path} holds no model') from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f'{path / CONFIG} is no model configuration: {error!r}') from error
    for file in (WEIGHTS, ENCODER, DECODER, PCA):
        if file not in files and (path / file).exists():
            raise ModelError(
                f'{path / CONFIG} lists no SHA-256 of {file} under files, so nobody knows whether '
                'it belongs there: install the model again'
            )
    for file, expected in files.items():
        check_file(path / file, expected)
    try:
        tensors = load_file(path / WEIGHTS)
    except (SafetensorError, FileNotFoundError) as error:
        raise ModelError(f'{path / WEIGHTS} cannot be read: {error}') from error
    measured = fingerprint(family, config, tensors)
    if measured != declared:
        raise ModelError(
            f'{path}: the weights have fingerprint {measured.hex()}, but {CONFIG} says '
            f'{declared.hex()}: the files do not belong together, install the model again'
        )
    card = path / CARD
    return Artifact(
        path=path,
        id=ModelId(name, version, measured),
        family=family,
        config=config,
        tensors=tensors,
        card=card.read_text() if card.exists() else '',
    )


def check_file(path: Path, expected: str) -> None:
    """Raise `ModelError` unless the file has the SHA-256 `expected`, hexadecimal."""
    if not path.is_file():
        raise ModelError(f'{path} is missing, install the model again')
    found = file_sha256(path)
    if found != expected:
        raise ModelError(
            f'{path} has SHA-256 {found}, but {CONFIG} says {expected}: '
            'the file was altered or cut short, install the model again'
        )
