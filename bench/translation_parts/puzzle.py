# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The cost of going through the puzzle grid, and what each modality looks like afterwards.

`vision`: classes of CIFAR-10 from latents of tinyvae, of images and of the same images read back
from the grid. `sound`: digits of a voice that the head was not trained on, from
spectrograms and from those read back. The head is the same for both: 64 principal components and
logistic regression, trained on its own representation. `ten_levels` has a grid of ten levels, as
puzzles of ARC. `cost` is the loss in points; `value` is the larger cost of the two. All modalities
are in the grid together when it is read.

The PSNR is that of the representation scaled back to the original size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sage_perception.core.metrics import psnr
from sage_perception.models import load_crop_codec
from sage_perception.puzzle import space
from translation_parts import fsdd
from translation_parts.scenes import encoder

CIFAR = Path(os.environ.get('SAGE_CIFAR', 'out/data/images_cifar10'))
"""Folder with a folder of images for each class; the variable SAGE_CIFAR sets another one."""
PER_CLASS = 150
COMPONENTS = 64
SENTENCE = 'look at the red ball'


def measure(seeds: Sequence[int]) -> dict:
    """Return the costs and the quality of the round trips."""
    parts = {'vision': vision(seeds), 'sound': sound(seeds)}
    costs = [max(each) for each in zip(*(part['costs'] for part in parts.values()), strict=True)]
    return {
        'value': max(part['cost'] for part in parts.values()), 'seeds': costs,
        'baselines': {'ten_levels': max(part['cost_ten_levels'] for part in parts.values())},
        **parts, 'text_body': text_body(),
    }  # fmt: skip


def vision(seeds: Sequence[int]) -> dict:
    """Return the accuracies of classes of images."""
    codec = load_crop_codec('tinyvae')
    names = sorted(folder for folder in CIFAR.glob('*') if any(folder.glob('*.*')))
    if len(names) < 2:
        raise SystemExit(
            f'{CIFAR} has no folders of images: set SAGE_CIFAR to a folder with one for each '
            'class of CIFAR-10, such as airplane'
        )
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        images, labels = [], []
        for label, folder in enumerate(names):
            files = sorted(folder.glob('*.*'))
            for i in rng.permutation(len(files))[:PER_CLASS]:
                images.append(cv2.cvtColor(cv2.imread(str(files[i])), cv2.COLOR_BGR2RGB))
                labels.append(label)
        through, coarse = through_grid(images, space.write_vision, space.read_vision)

        def latents(batch: Sequence[np.ndarray]) -> np.ndarray:
            side = (codec.input_size, codec.input_size)
            crops = np.stack([cv2.resize(image, side) for image in batch])
            return codec.encode(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)

        train = rng.permutation(len(labels)) < 0.7 * len(labels)
        scores = [accuracy(latents(b), np.array(labels), train) for b in (images, through, coarse)]
        back = [cv2.resize(image, images[0].shape[1::-1]) for image in through]
        quality = np.mean([psnr(a / 255, b / 255) for a, b in zip(images, back, strict=True)])
        rows.append([*scores, float(quality)])
    return summary(rows, 1 / len(names))


def sound(seeds: Sequence[int]) -> dict:
    """Return the accuracies of digits; a seed is the voice that is held out."""
    digits = fsdd.load()
    mels = list(digits.mel[:, 0])
    through, coarse = through_grid(mels, space.write_sound, space.read_sound)
    voices = sorted(set(digits.voice))
    back = [cv2.resize(mel, mels[0].shape[::-1]) for mel in through]
    quality = float(np.mean([psnr(a, b) for a, b in zip(mels, back, strict=True)]))
    rows = []
    for seed in seeds:
        train = digits.voice != voices[seed % len(voices)]
        rows.append(
            [accuracy(flat(each), digits.digit, train) for each in (mels, through, coarse)]
            + [quality]
        )
    return summary(rows, 0.1)


def text_body() -> dict:
    """Return the cosine of a text embedding, and the error of a latent of the body."""
    text = encoder()([SENTENCE])[0]
    body = np.random.default_rng(1).uniform(-1, 1, space.BODY_DIM).astype(np.float32)
    puzzle = space.fuse_max([space.write_text(text), space.write_body(body)])
    read = space.read_text(puzzle)
    cosine = read @ text / np.linalg.norm(read) / np.linalg.norm(text)
    error = np.abs(space.read_body(puzzle)[0] - body).max()
    return {'text_cosine': float(cosine), 'body_error': float(error)}


def through_grid(
    items: Sequence[np.ndarray],
    write: Callable[..., space.Puzzle],
    read: Callable[[space.Puzzle], np.ndarray],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return what is read back from grids with text and body beside, and from ten levels."""
    beside = [
        space.write_text(encoder()([SENTENCE])[0]),
        space.write_body(np.linspace(-1, 1, space.BODY_DIM).astype(np.float32)),
    ]
    exact, coarse = [], []
    for item in items:
        puzzle = space.fuse_max([write(item), *beside])
        exact.append(read(puzzle))
        coarse.append(read(space.quantize(puzzle, 10)))
    return exact, coarse


def accuracy(x: np.ndarray, labels: np.ndarray, train: np.ndarray) -> float:
    """Return the accuracy of the head on what it was not trained on."""
    head = make_pipeline(
        StandardScaler(), PCA(COMPONENTS, random_state=0), LogisticRegression(C=0.1, max_iter=300)
    )
    head.fit(x[train], labels[train])
    return float(head.score(x[~train], labels[~train]))


def flat(items: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays as rows."""
    return np.stack(items).reshape(len(items), -1)


def summary(rows: Sequence[Sequence[float]], chance: float) -> dict:
    """Return the figures of direct, grid and coarse representations over all seeds."""
    direct, grid, coarse, quality = np.mean(rows, 0).tolist()
    return {
        'value': grid, 'seeds': [row[1] for row in rows],
        'baselines': {'chance': chance, 'direct': direct, 'ten_levels': coarse},
        'cost': 100 * (direct - grid), 'costs': [100 * (row[0] - row[1]) for row in rows],
        'cost_ten_levels': 100 * (direct - coarse), 'psnr_db': quality,
    }  # fmt: skip
