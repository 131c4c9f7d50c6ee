# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run: the configuration, the last checkpoint, the final figures.

run.yaml       the configuration, as it was read
last.ckpt      what a run resumes from; its `state_dict` holds the averaged weights
metrics.json   final figures, once the run has ended
csv/, tensorboard/   figures on the way
"""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sage_perception.models import artifact
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.registry import load_codec, resolve
from sage_perception.training.config import ConfigError, RunConfig, read_config

CONFIG = 'run.yaml'
CHECKPOINT = 'last.ckpt'
METRICS = 'metrics.json'
MAY_CHANGE = {'version', 'data.root', 'training.steps', 'training.patience'}
"""What a configuration may say otherwise than the run that it goes on with."""


def require_same(config: RunConfig, run: Path) -> None:
    """Raise `ConfigError` unless what the folder of a run holds is of this configuration."""
    path = run / CONFIG
    if not path.is_file():
        return
    before, now = flat(asdict(read_config(path))), flat(asdict(config))
    for key in sorted({*before, *now} - MAY_CHANGE):
        was, said = before.get(key), now.get(key)
        if was != said:
            raise ConfigError(
                f'{run} was trained with {key} {was!r}, the configuration says {said!r}: take '
                'another run folder, or remove this one to train anew'
            )


def flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return a tree of dictionaries as one, with keys such as `training.steps`."""
    leaves = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f'{prefix}{key}.')
        else:
            leaves[prefix + key] = tuple(value) if isinstance(value, list) else value
    return leaves


def load_run(config: RunConfig, run: Path) -> nn.Module:
    """Return the network of a run's last checkpoint, with its averaged weights.

    An encoder that is another model's is taken from there: averaging has rounded this one. Raises
    `ConfigError` if there is none, it is damaged, or the run is of another configuration.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise ConfigError(f'{path} is missing: train first, sage train CONFIG --out {run}')
    require_same(config, run)
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        raise ConfigError(f'{path} is damaged: remove it to train anew') from None
    prefix = 'model.'
    weights = {
        k.removeprefix(prefix): v
        for k, v in checkpoint['state_dict'].items()
        if k.startswith(prefix)
    }
    model = FAMILIES[config.family].network(config.model)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f'{path} is of a model with another configuration: take the one it was trained with, '
            'or another run folder'
        ) from None
    if config.encoder:
        keep_encoder(model, artifact.read(resolve(config.encoder)))
    return model


def keep_encoder(model: nn.Module, known: artifact.Artifact) -> None:
    """Give a network the encoder of a model, and let it not be trained."""
    prefix = 'encoder.'
    weights = {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in known.tensors.items()
        if name.startswith(prefix)
    }
    try:
        model.encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f'encoder: {known.id} is not what model says: {error}') from None
    model.encoder.requires_grad_(False)


def load_network(name: str) -> nn.Module:
    """Return the network of a model, by name or folder, or of the folder of a run.

    Raises `ConfigError` or `ModelError` if there is none.
    """
    folder = Path(name)
    if (folder / CHECKPOINT).is_file():
        return load_run(read_config(folder / CONFIG), folder)
    return load_codec(name, backend='torch', device='cpu').module
