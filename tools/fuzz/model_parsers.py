# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The readers of model folders and of what is fitted to a model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import model_seeds as seeds
from fuzz.formats import change_onnx
from fuzz.mutations import BYTES, JSON, TEXT, YAML
from fuzz.parser import NPZ, SAFETENSORS, Parser, sage_command
from sage_perception.codecs import codebook
from sage_perception.evaluation.baselines import read_components
from sage_perception.models import identity
from sage_perception.models.backbones.state_dict import load_weights
from sage_perception.models.registry import load_codec, load_semantic, load_slot_encoder
from sage_perception.models.semantic.semantic_text import VOCABULARY
from sage_perception.models.semantic.text_encoder import TextEncoder
from sage_perception.training.data.objects import pool
from sage_perception.trust.fitted import FittedTrust


def _model(folder: Path) -> None:
    codec = load_codec(folder / 'model')
    shape = (1, codec.input_channels, codec.input_size, codec.input_size)
    codec.decode(codec.encode(np.full(shape, 0.5, np.float32)))


def _model_of_torch(folder: Path) -> None:
    load_codec(folder / 'model', 'torch')


@cache
def _codec() -> Any:
    return load_codec('tinyvae')


def _trust(folder: Path) -> None:
    codec = _codec()
    codec.artifact = replace(codec.artifact, path=folder)
    FittedTrust.read(codec)


def _identity(folder: Path) -> None:
    codec = _codec()
    head = identity.read(folder, codec.id.fingerprint, codec.latent_dim)
    if head is None:
        raise ValueError('no head')
    head(np.zeros((2, codec.latent_dim), np.float32))
    head.threshold(0.01)


def _semantic(folder: Path) -> None:
    """Read a model of semantic codes as far as it does not need the networks of other packages."""
    model = load_semantic(folder / 'model')
    if not (model.nouns and model.input_size and model.code_dim):
        raise TypeError('an empty model is accepted')
    TextEncoder(folder / 'model' / VOCABULARY)


def _slots(folder: Path) -> None:
    model = load_slot_encoder(folder / 'model')
    x = np.full((1, model.input_channels, model.input_size, model.input_size), 0.5, np.float32)
    model.decode(model.track(x, model.encode(x).slots))


def _network(folder: Path) -> None:
    for suffix in ('safetensors', 'json'):
        load_weights(seeds.small_network(), folder / f'weights.{suffix}')


def _scenes(folder: Path) -> None:
    """Read the cache of generated scenes, which is generated again if it is damaged."""
    before, pool.CACHE = pool.CACHE, folder
    try:
        shutil.move(folder / 'cache.npz', pool.cache_file('tetrominoes', 2, 0))
        scenes = pool.scenes('tetrominoes', 2, 0, progress=False)
    finally:
        pool.CACHE = before
    if scenes.image.shape[:-1] != scenes.labels.shape:
        raise TypeError('a damaged cache is used')


MODEL_PARSERS = (
    Parser(
        'model configuration',
        seeds.model,
        ('model/config.yaml',),
        YAML,
        sage_command('models', '{}/model'),
    ),
    Parser(
        'model card',
        seeds.model,
        ('model/card.md',),
        TEXT,
        sage_command('models', '{}/model'),
        weight=0.3,
    ),
    Parser(
        'model weights',
        seeds.model,
        ('model/model.safetensors', 'model/pca.safetensors'),
        SAFETENSORS,
        _model_of_torch,
        (ValueError,),
        seeds.fixed_model,
    ),
    Parser(
        'ONNX',
        seeds.model,
        ('model/encoder.onnx', 'model/decoder.onnx'),
        (*BYTES, *[change_onnx] * 12),
        _model,
        (ValueError,),
        seeds.fixed_model,
        weight=1.5,
    ),
    Parser(
        'principal components',
        seeds.model,
        ('model/pca.safetensors',),
        SAFETENSORS,
        lambda folder: read_components(load_codec(folder / 'model')),
        (ValueError,),
        seeds.fixed_model,
        weight=0.5,
    ),
    Parser(
        'codebook',
        seeds.model,
        ('model/codebook.safetensors',),
        SAFETENSORS,
        lambda folder: codebook.read(folder / 'model'),
        (ValueError,),
    ),
    Parser('trust.json', seeds.trust_file, ('trust.json',), JSON, _trust, (ValueError,)),
    Parser(
        'identity head',
        seeds.identity_head,
        (identity.WEIGHTS,),
        SAFETENSORS,
        _identity,
        (ValueError,),
    ),
    Parser(
        'semantic model',
        seeds.semantic_model,
        ('model/model.safetensors',),
        SAFETENSORS,
        _semantic,
        (ValueError,),
        seeds.fixed_model,
    ),
    Parser(
        'nouns',
        seeds.semantic_model,
        ('model/nouns.json',),
        JSON,
        _semantic,
        (ValueError,),
        seeds.fixed_model,
    ),
    Parser(
        'vocabulary',
        seeds.semantic_model,
        ('model/wordpiece.vocab',),
        TEXT,
        _semantic,
        (ValueError,),
        seeds.fixed_model,
        weight=0.5,
    ),
    Parser(
        'slot model',
        seeds.slot_model,
        ('model/model.safetensors',),
        SAFETENSORS,
        _slots,
        (ValueError,),
        seeds.fixed_model,
    ),
    Parser(
        'ONNX of slots',
        seeds.slot_model,
        ('model/encoder.onnx', 'model/tracker.onnx', 'model/decoder.onnx'),
        (*BYTES, *[change_onnx] * 12),
        _slots,
        (ValueError,),
        seeds.fixed_model,
    ),
    Parser(
        'weights of a network',
        seeds.network_weights,
        ('weights.safetensors',),
        SAFETENSORS,
        _network,
    ),
    Parser(
        'weights as JSON',
        seeds.network_weights,
        ('weights.json',),
        JSON,
        _network,
    ),
    Parser('scene cache', seeds.scene_cache, ('cache.npz',), NPZ, _scenes, (OSError,), weight=0.5),
)
