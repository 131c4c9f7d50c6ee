# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run.

run.yaml       the configuration
last.ckpt      the checkpoint to resume from; its `state_dict` holds the averaged weights
metrics.json   the final figures, once the run has ended
csv/, tensorboard/   figures during the run
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from sage_perception.core.reading import open_regular
from sage_perception.models import artifact
from sage_perception.models.backends.torch_backend import TorchCodec
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.networks.vae import VAE
from sage_perception.models.registry import load_codec, resolve
from sage_perception.training.config import ConfigError, RunConfig, read_config

NetworkT = TypeVar('NetworkT', bound=nn.Module)

CONFIG = 'run.yaml'
CHECKPOINT = 'last.ckpt'
METRICS = 'metrics.json'
PREFIX = 'model.'
"""Prefix of the tensors of the network in the `state_dict` of a checkpoint."""
MAY_CHANGE = {'version', 'data.root', 'training.steps', 'training.patience'}
"""Configuration keys that may change when a run is resumed."""


def require_same(config: RunConfig, run: Path) -> None:
    """Raise `ConfigError` if the folder holds a run of another configuration."""
    path = run / CONFIG
    if not path.is_file():
        return
    before, now = flat(asdict(read_config(path))), flat(asdict(config))
    for key in sorted({*before, *now} - MAY_CHANGE):
        old, new = before.get(key), now.get(key)
        if old != new:
            raise ConfigError(
                f'{run} was trained with {key} {old!r}, but the configuration has {new!r}: '
                'choose another run folder, or delete this one to start over'
            )


def flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested dictionaries as one, with keys such as `training.steps`; lists as tuples."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f'{prefix}{key}.')
        else:
            leaves[prefix + key] = tuple(value) if isinstance(value, list) else value
    return leaves


def require_current_names(config: RunConfig, run: Path) -> None:
    """Raise `ConfigError` if the checkpoint of a run cannot be resumed with this version.

    The tensors of some checkpoints of version 0.1 have other names. `load_run` maps the names of
    the weights, but the optimizer and the averaged weights cannot be restored.
    """
    path, family = run / CHECKPOINT, FAMILIES[config.family]
    names = [name.removeprefix(PREFIX) for name in read_checkpoint(path)['state_dict']]
    if any(family.current_name(name) != name for name in names):
        raise ConfigError(
            f'{path} is of sage 0.1 and can be exported but not resumed: choose another run '
            'folder, or delete this one to start over'
        )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises `ConfigError` if it is damaged, or is not a checkpoint of a training run.
    """
    try:
        with open_regular(path) as file:
            content = torch.load(file, map_location='cpu', weights_only=True)
    except OSError as error:
        raise ConfigError(f'{path} cannot be read: {error.strerror or error}') from None
    except Exception:  # noqa: BLE001 (the unpickler raises exceptions of many kinds)
        raise ConfigError(f'{path} is damaged: delete it to start over') from None
    if not isinstance(content, dict) or not isinstance(content.get('state_dict'), dict):
        raise ConfigError(f'{path} is not a checkpoint of a run: delete it to start over')
    return content


def load_run(config: RunConfig, run: Path, kind: type[NetworkT]) -> NetworkT:
    """Return the network of the last checkpoint of a run, with averaged weights.

    `kind` is the network class of the family. An encoder of another model is copied from that
    model, because averaging rounds its weights. Raises `ConfigError` if the checkpoint is missing,
    damaged or of another configuration.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise ConfigError(f'{path} is missing: train first, sage train CONFIG --out {run}')
    require_same(config, run)
    family = FAMILIES[config.family]
    weights = {
        family.current_name(name.removeprefix(PREFIX)): value
        for name, value in read_checkpoint(path)['state_dict'].items()
        if name.startswith(PREFIX)
    }
    model = family.network(config.model)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f'{path} is of a model with another configuration: use the configuration that it was '
            'trained with, or another run folder'
        ) from None
    if config.encoder and isinstance(model, VAE):
        freeze_encoder(model, artifact.read(resolve(config.encoder)))
    assert isinstance(model, kind)
    return model


def load_or_new(config: RunConfig, run: Path, kind: type[NetworkT]) -> NetworkT:
    """Return the network of the last checkpoint in the folder `run`, or a new one.

    Raises as `load_run` does.
    """
    return load_run(config, run, kind) if (run / CHECKPOINT).exists() else kind(config.model)


def freeze_encoder(model: VAE, source: artifact.Artifact) -> None:
    """Copy the encoder of a model and exclude it from training.

    Raises `ConfigError` if the encoder has another configuration.
    """
    prefix = 'encoder.'
    weights = {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in source.tensors.items()
        if name.startswith(prefix)
    }
    try:
        model.encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f'encoder: {source.id} does not match the section model: {error}'
        ) from None
    model.encoder.requires_grad_(False)


def load_network(name: str) -> VAE:
    """Return the network of a model of images, by name or folder, or of a run folder.

    Raises `ConfigError` or `ModelError` if there is none.
    """
    folder = Path(name)
    if (folder / CHECKPOINT).is_file():
        network: nn.Module = load_run(read_config(folder / CONFIG), folder, nn.Module)
        if not isinstance(network, VAE):
            raise ConfigError(f'{folder} is the run of a compressor, not of a model of images')
        return network
    codec = load_codec(name, backend='torch', device='cpu')
    assert isinstance(codec, TorchCodec)  # the backend was chosen
    return codec.module
