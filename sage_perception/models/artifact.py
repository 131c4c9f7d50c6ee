# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A model on disk: a folder with weights, configuration, ONNX graphs and a card.

    model.safetensors   all weights, float16, and the mean and standard deviation of the latents
                        of training crops, float32
    encoder.onnx        x → mean, log_var
    decoder.onnx        z → y
    tracker.onnx        of slot models only: x, slots of the previous frame → slots
    pca.safetensors     the principal components of the baseline in the card
    config.yaml         name, version, family, configuration, fingerprint, SHA-256 of the files
    card.md             data, command, figures, limitations

Needs neither torch nor ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sage_perception.core.latent import ModelId
from sage_perception.core.reading import read_bounded, sha256_of
from sage_perception.core.text import one_line
from sage_perception.core.yaml_file import read_mapping

WEIGHTS = 'model.safetensors'
ENCODER = 'encoder.onnx'
DECODER = 'decoder.onnx'
TRACKER = 'tracker.onnx'
PCA = 'pca.safetensors'
CONFIG = 'config.yaml'
CARD = 'card.md'

MAX_FILE_BYTES = 1 << 30
"""Maximum size of a file of a model; the largest that ships has 10 MB."""
MAX_CARD_BYTES = 1 << 20
MAX_COUNT = 8192
"""Maximum size that a configuration may declare, such as the side of an image or a dimension."""

LATENT_MEAN = 'latent.mean'
LATENT_STD = 'latent.std'


class ModelError(ValueError):
    """A model that cannot be loaded or used; the one-line message includes the fix."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """A model folder that has been read and verified.

    `tensors` contains the stored arrays by name: `encoder.*` and `decoder.*` float16 or float32,
    `latent.mean` and `latent.std` float32.
    """

    path: Path
    id: ModelId
    family: str
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    card: str

    @property
    def parameters(self) -> int:
        """Return the number of trained parameters of encoder and decoder."""
        names = ('encoder.', 'decoder.')
        return sum(t.size for n, t in self.tensors.items() if n.startswith(names))

    def tensor(self, name: str) -> np.ndarray:
        """Return a stored tensor; raise `ModelError` if the model does not have it."""
        if name not in self.tensors:
            raise ModelError(f'{self.path / WEIGHTS} has no tensor {name}: export the model again')
        return self.tensors[name]

    def count(self, name: str) -> int:
        """Return a size of the configuration, from 1 to `MAX_COUNT`.

        Raises `ModelError` for anything else.
        """
        value = self.config.get(name)
        if type(value) is not int or not 1 <= value <= MAX_COUNT:
            raise ModelError(
                f'{self.path / CONFIG}: config.{name} is {reprlib.repr(value)}; it must be an '
                f'integer from 1 to {MAX_COUNT}'
            )
        return value


def fingerprint(
    family: str, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> bytes:
    """Return the SHA-256 that identifies a latent space.

    It covers everything that determines the latent of an image: family, configuration of the
    encoder, its weights and the statistics of the latents; tensors sorted by name, as
    little-endian bytes. It does not cover the decoder: a model with a larger decoder for the same
    latents has the same latent space. The SHA-256 of each file is in `config.yaml`.

    Raises `TypeError` for a configuration that JSON cannot represent.
    """
    encoder = {key: value for key, value in config.items() if not key.startswith('decoder_')}
    digest = hashlib.sha256(json.dumps([family, encoder], sort_keys=True).encode())
    for name in sorted(tensors):
        if name.startswith(('encoder.', 'latent.')):
            tensor = tensors[name]
            little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder('<'))
            digest.update(f'{name} {little.dtype.str} {list(tensor.shape)}\n'.encode())
            digest.update(little.tobytes())
    return digest.digest()


def declared_fingerprint(path: Path) -> bytes:
    """Return the fingerprint that a model folder declares, without verifying it.

    Raises `ModelError` for a missing or invalid configuration.
    """
    declared = _read_config(path / CONFIG)['fingerprint']
    try:
        return bytes.fromhex(declared)
    except ValueError as error:
        raise ModelError(
            f'{path / CONFIG}: fingerprint is {declared!r}, not hexadecimal'
        ) from error


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file of a model; raise `ModelError` for other files."""
    try:
        return sha256_of(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror}') from error


def read(path: Path) -> Artifact:
    """Read and verify a model folder.

    Raises `ModelError` for a missing, invalid or altered file.
    """
    tree = _read_config(path / CONFIG)
    files = tree['files']
    for file in (WEIGHTS, ENCODER, DECODER, TRACKER, PCA):
        if file not in files and (path / file).exists():
            raise ModelError(
                f'{path / CONFIG} has no SHA-256 of {file} under files, so the file cannot be '
                'verified: install the model again'
            )
    for file, expected in files.items():
        check_file(path / file, expected)
    try:
        tensors = load_file(path / WEIGHTS)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f'{path / WEIGHTS} cannot be read: {one_line(error)}') from error
    declared = tree['fingerprint']
    try:
        computed = fingerprint(tree['family'], tree['config'], tensors)
    except TypeError as error:
        raise ModelError(f'{path / CONFIG} is not a model configuration: {error}') from error
    if computed.hex() != declared.lower():
        raise ModelError(
            f'{path}: the weights have fingerprint {computed.hex()}, {CONFIG} declares '
            f'{declared}: the files are of different models, install the model again'
        )
    return Artifact(
        path=path,
        id=ModelId(tree['name'], tree['version'], computed),
        family=tree['family'],
        config=tree['config'],
        tensors=tensors,
        card=_read_card(path / CARD),
    )


def _read_card(path: Path) -> str:
    """Return the text of a card, '' if there is none; raise `ModelError` if it cannot be read."""
    try:
        return read_bounded(path, MAX_CARD_BYTES).decode('utf-8', 'replace')
    except FileNotFoundError:
        return ''
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror}') from error


def _read_config(path: Path) -> dict[str, Any]:
    """Return the content of `config.yaml` with the fields of the expected types."""
    try:
        tree = read_mapping(path)
    except FileNotFoundError:
        raise ModelError(f'{path} is missing: {path.parent} is not a model folder') from None
    except (OSError, ValueError) as error:
        raise ModelError(f'{path} is not a model configuration: {error}') from error
    strings, mappings = ('name', 'version', 'family', 'fingerprint'), ('config', 'files')
    for name in (*strings, *mappings):
        kind, wanted = (str, 'a string') if name in strings else (dict, 'a mapping')
        if not isinstance(tree.get(name), kind):
            raise ModelError(
                f'{path} is not a model configuration: {name} is {reprlib.repr(tree.get(name))}, '
                f'it must be {wanted}'
            )
    for key in tree['config']:
        if not isinstance(key, str):
            raise ModelError(
                f'{path} is not a model configuration: config has the key {reprlib.repr(key)}; '
                'it must be a string'
            )
    for file in tree['files']:
        if not isinstance(file, str) or Path(file).name != file:
            raise ModelError(
                f'{path} is not a model configuration: files has {reprlib.repr(file)}; it must be '
                'the name of a file in this folder'
            )
    return {name: tree[name] for name in (*strings, *mappings)}


def check_file(path: Path, expected: str) -> None:
    """Raise `ModelError` unless the file has the hexadecimal SHA-256 `expected`."""
    if not path.is_file():
        raise ModelError(f'{path} is missing: install the model again')
    found = file_sha256(path)
    if found != expected:
        raise ModelError(
            f'{path} has SHA-256 {found}, {CONFIG} declares {expected}: '
            'the file was altered or truncated, install the model again'
        )
