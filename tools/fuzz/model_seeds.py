# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Valid model folders and files that are fitted to a model, which the fuzzer mutates."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.numpy import load_file
from torch import nn

from sage_perception.codecs.codebook import Codebook, write
from sage_perception.core.reading import require_regular
from sage_perception.models import artifact, identity
from sage_perception.models.backbones.state_dict import save_weights
from sage_perception.models.networks.slots.model import SlotModel
from sage_perception.models.registry import ZOO
from sage_perception.training.config import read_config
from sage_perception.training.data.objects.pool import GENERATORS
from sage_perception.training.tasks.slots.task import export_model

MODEL = 'tinyvae32_ultratiny'
SLOTS = """\
name: slots
version: "1"
family: slots
model: {img_size: 16, slots: 3, slot_dim: 8, encoder_channels: [8, 8, 8, 8], decoder_channels: 8}
scenes: {set: tetrominoes, count: 2, held_out: 2}
training: {steps: 1, epoch: 1, batch: 1, warmup: 1}
"""


def model(folder: Path) -> None:
    """Write a model folder with a codebook."""
    copied = folder / 'model'
    shutil.copytree(ZOO / MODEL, copied)
    space = artifact.read(copied)
    dim = space.tensors[artifact.LATENT_MEAN].size
    write(copied, Codebook(np.ones((1, 4, dim), np.float32), space.id.fingerprint))


def fixed_model(folder: Path) -> None:
    """Write the hashes of a model folder into its configuration, where possible.

    They are those of the files and the fingerprint of the latent space, so that damaged weights
    are not refused by their hash alone.
    """
    path = folder / 'model' / artifact.CONFIG
    tree = yaml.safe_load(path.read_text())
    for name in tree['files']:
        file = folder / 'model' / name
        if file.is_file() and file.stat().st_size < 1 << 26:
            tree['files'][name] = artifact.file_sha256(file)
    weights = folder / 'model' / artifact.WEIGHTS
    with contextlib.suppress(Exception):  # the weights may be no safetensors file, or a pipe
        require_regular(weights, 1 << 26)
        tensors = load_file(weights)
        found = artifact.fingerprint(tree['family'], tree['config'], tensors)
        tree['fingerprint'] = found.hex()
    path.write_text(yaml.safe_dump(tree))


def trust_file(folder: Path) -> None:
    """Write the trust estimates of the shipped model."""
    shutil.copy(ZOO / 'tinyvae' / 'trust.json', folder)


def identity_head(folder: Path) -> None:
    """Copy the identity head of the shipped model."""
    shutil.copy(ZOO / 'tinyvae' / identity.WEIGHTS, folder)


def semantic_model(folder: Path) -> None:
    """Copy the model of semantic codes."""
    shutil.copytree(ZOO / 'semantic_text', folder / 'model')


def slot_model(folder: Path) -> None:
    """Write the folder of a small slot model with random weights."""
    (folder / 'slots.yaml').write_text(SLOTS)
    config = read_config(folder / 'slots.yaml')
    slots = torch.eye(config.model.slot_dim)
    export_model(config, SlotModel(config.model).eval(), slots, folder / 'model')


def network_weights(folder: Path) -> None:
    """Write the weights of a network as safetensors and as JSON."""
    for name in ('weights.safetensors', 'weights.json'):
        save_weights(small_network(), folder / name)


def small_network() -> nn.Module:
    """Return a network with a few weights."""
    return nn.Linear(3, 2)


def scene_cache(folder: Path) -> None:
    """Write the cache of two generated scenes as `cache.npz`."""
    scene = GENERATORS['tetrominoes'](np.random.default_rng(0))
    image, labels = (np.stack([part] * 2) for part in scene)
    with (folder / 'cache.npz').open('wb') as file:
        np.savez(file, image=image, labels=labels)
