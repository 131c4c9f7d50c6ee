# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Exchange of weights as safetensors and as JSON."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from sage_perception.core.files import replacing, write_atomically
from sage_perception.core.reading import read_bounded, require_regular
from sage_perception.core.text import one_line

MAX_JSON_BYTES = 2**28
"""Maximum size of a JSON file, bytes."""


class WeightsError(ValueError):
    """A file of weights cannot be read or does not fit the network."""


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the state dict of a network as .safetensors or .json, by the file extension.

    JSON has the shape and the values of each tensor, `{name: {"shape": [...], "data": [...]}}`.
    Raises `WeightsError` for another extension, and `OSError`.
    """
    tensors = {k: v.detach().cpu().contiguous().numpy() for k, v in network.state_dict().items()}
    if path.suffix == '.safetensors':
        with replacing(path) as part:
            save_file(tensors, part)
    elif path.suffix == '.json':
        tree = {
            name: {'shape': list(value.shape), 'data': value.ravel().tolist()}
            for name, value in tensors.items()
        }
        write_atomically(path, json.dumps(tree, allow_nan=False) + '\n')
    else:
        raise WeightsError(f'{path} must end with .safetensors or .json')


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict that `save_weights`, or another program, wrote.

    Raises `WeightsError` if the file cannot be read, or if names or shapes differ from those of
    the network, which does not change then; and `OSError`.
    """
    tensors = _read(path)
    own = network.state_dict()
    if own.keys() != tensors.keys():
        different = sorted(own.keys() ^ tensors.keys())
        raise WeightsError(f'{path}: missing or unknown tensors: {", ".join(different[:5])}')
    for name, value in tensors.items():
        if tuple(value.shape) != tuple(own[name].shape):
            raise WeightsError(
                f'{path}: {name} has the shape {tuple(value.shape)}, the network '
                f'{tuple(own[name].shape)}'
            )
        if not np.isfinite(value).all():
            raise WeightsError(f'{path}: {name} contains NaN or infinity')
    network.load_state_dict(
        {name: torch.tensor(value, dtype=own[name].dtype) for name, value in tensors.items()}
    )


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if path.suffix == '.safetensors':
        require_regular(path)
        try:
            return load_file(path)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(f'{path} is not a safetensors file: {one_line(error)}') from None
    if path.suffix != '.json':
        raise WeightsError(f'{path} must end with .safetensors or .json')
    try:
        data = read_bounded(path, MAX_JSON_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise WeightsError(f'{path}: {error.strerror}: use .safetensors') from None
        raise
    try:
        tree = json.loads(data)
        return {
            name: np.array(value['data'], np.float64).reshape(value['shape'])
            for name, value in tree.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise WeightsError(
            f'{path} is not a JSON object with the shape and data of each tensor'
        ) from None
