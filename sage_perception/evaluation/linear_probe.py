# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Linear probe: the accuracy of a linear classifier on latents."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sage_perception.core.progress import track
from sage_perception.evaluation.baselines import Components
from sage_perception.models import Codec
from sage_perception.training.data.files import IMAGE_SUFFIXES, find_files
from sage_perception.training.data.images import ImagePyramid, read_rgb, to_model

BATCH = 64
TEST_EVERY = 5
"""Every fifth image of a class is a test image."""


def labeled_images(root: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """Return image files, their classes `[N]` and the names of the classes.

    Each folder in `root` with at least 2 · `TEST_EVERY` images is a class. Raises
    `FileNotFoundError` if `root` is not a folder, and `ValueError` for fewer than two classes.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f'{root} is not a folder: the linear probe needs one with a folder for each class'
        )
    files: list[Path] = []
    labels: list[int] = []
    names: list[str] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        found = find_files(folder, IMAGE_SUFFIXES)
        if len(found) >= 2 * TEST_EVERY:
            files += found
            labels += [len(names)] * len(found)
            names.append(folder.name)
    if len(names) < 2:
        raise ValueError(
            f'{root} has {len(names)} folders with at least {2 * TEST_EVERY} images: the linear '
            'probe needs at least two classes, each in its own folder'
        )
    return files, np.array(labels), names


def center_square(path: Path, size: int) -> np.ndarray:
    """Return the center square of the image at `path`, uint8 RGB `[size, size, 3]`."""
    image = ImagePyramid(read_rgb(path))
    height, width = image.shape
    side = min(height, width)
    return image.cut((width - side) / 2, (height - side) / 2, side, size)


def is_test_image(labels: np.ndarray) -> np.ndarray:
    """Return which images are for the test, bool `[N]`: each `TEST_EVERY`-th of every class."""
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return test


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the test accuracy of a logistic regression on standardized features `[N, D]`.

    The classifier is fitted to the images that are not for the test (Alain and Bengio, 2016).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    test = is_test_image(labels)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(features[~test], labels[~test])
    return float(classifier.score(features[test], labels[test]))


def probe(codec: Codec, components: Components | None, root: Path) -> dict[str, Any]:
    """Return the accuracies of latents and of as many PCA coefficients on the classes in `root`.

    Raises `ModuleNotFoundError` if scikit-learn is not installed, and as `labeled_images` does.
    """
    if find_spec('sklearn') is None:
        raise ModuleNotFoundError('--probe requires scikit-learn: pip install scikit-learn')
    files, labels, names = labeled_images(root)
    latents, coefficients = [], []
    for start in track(range(0, len(files), BATCH), 'encoding the classes'):
        crops = [center_square(file, codec.input_size) for file in files[start : start + BATCH]]
        x = to_model(np.stack(crops), codec.input_channels)
        z = codec.encode(x)
        latents.append(z.reshape(len(z), -1))
        if components is not None:
            coefficients.append(components.coefficients(x, latents[-1].shape[1]))
    tested = labels[is_test_image(labels)]
    return {
        'classes': names,
        'test_images': len(tested),
        'latent': accuracy(np.concatenate(latents), labels),
        'pca': accuracy(np.concatenate(coefficients), labels) if coefficients else None,
        'chance': float(np.bincount(tested).max() / len(tested)),
    }
