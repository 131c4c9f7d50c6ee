# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What latents know of what an image shows: the accuracy of a linear classifier on them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sage_perception.evaluation.baselines import Components
from sage_perception.models import Codec
from sage_perception.training.data.crops import IMAGES, Image, read_rgb, to_model

BATCH = 64
TEST = 5  # every so-manieth image of a class is kept for the test


def labelled(root: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """Return images, their classes `[N]` and the classes' names: each folder in `root` is one.

    Raises `ValueError` unless there are two classes or more, each with 2 · `TEST` images.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is no folder; --probe takes one with a folder a class')
    files, labels, names = [], [], []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        found = sorted(p for p in folder.rglob('*') if p.suffix.lower() in IMAGES)
        if len(found) >= 2 * TEST:
            files += found
            labels += [len(names)] * len(found)
            names.append(folder.name)
    if len(names) < 2:
        raise ValueError(
            f'{root} holds {len(names)} folders with {2 * TEST} images or more; '
            'a probe needs two classes or more, each in a folder of its own'
        )
    return files, np.array(labels), names


def center_square(path: Path, size: int) -> np.ndarray:
    """Return the square in the middle of the image at `path`, uint8 RGB `[size, size, 3]`."""
    image = Image(read_rgb(path))
    height, width = image.shape
    side = min(height, width)
    return image.cut((width - side) / 2, (height - side) / 2, side, size)


def held_apart(labels: np.ndarray) -> np.ndarray:
    """Return which images, bool `[N]`, are for the test: each `TEST`-th of every class."""
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[TEST - 1 :: TEST]] = True
    return test


def accuracy(numbers: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of test images that a logistic regression on `numbers` `[N, D]` names.

    The numbers are standardized; fitted on the other images (Alain and Bengio, 2016).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    test = held_apart(labels)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(numbers[~test], labels[~test])
    return float(classifier.score(numbers[test], labels[test]))


def probe(codec: Codec, components: Components | None, root: Path) -> dict:
    """Return accuracies on the classes under `root`, of latents and of as many PCA numbers."""
    if find_spec('sklearn') is None:
        raise ModuleNotFoundError('--probe needs scikit-learn: pip install scikit-learn')
    files, labels, names = labelled(root)
    latents, coefficients = [], []
    for start in tqdm(range(0, len(files), BATCH), 'probe', disable=None):
        crops = [center_square(file, codec.input_size) for file in files[start : start + BATCH]]
        x = to_model(np.stack(crops), codec.input_channels)
        z = codec.encode(x)
        latents.append(z.reshape(len(z), -1))
        if components is not None:
            coefficients.append(components.coefficients(x, latents[-1].shape[1]))
    tested = labels[held_apart(labels)]
    return {
        'classes': names,
        'test_images': len(tested),
        'latent': accuracy(np.concatenate(latents), labels),
        'pca': accuracy(np.concatenate(coefficients), labels) if coefficients else None,
        'chance': float(np.bincount(tested).max() / len(tested)),
    }
