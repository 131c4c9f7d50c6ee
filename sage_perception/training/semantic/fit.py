# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the maps of `semantic_text` from names of classes and the rows of a classifier.

No image with a text is used. Unlabeled crops give the means of codes and features, the temperature
of the probabilities, and the map from codes to classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from sage_perception.models.softmax import softmax
from sage_perception.training.semantic.classes import ImageClass, Synset

HALF_DIM = 32
"""Dimensions of each half of a code."""
HYPERNYM_DECAY = 0.5
"""Weight of a hypernym relative to the next more specific one."""
TEXT_CENTER = 0.6
"""Share of the mean of the class embeddings that is subtracted from a text."""
RIDGE = 1.0
IDENTITY_DIM = 64
IDENTITY_WHITENING = 0.35
"""Chosen on views of training images: 0 leaves the variances, 0.5 makes them equal."""
MAX_PROTOTYPE_CLASSES = 250
"""Hypernyms of more classes are no prototypes of the regression."""
CLASS_MAP_PENALTY, CLASS_MAP_STEPS = 1e-6, 100
MAX_MIXED = 3
"""Classes that are mixed into features, at most."""
MAX_STRENGTH = 12.0
"""Largest length of what is mixed in; the features of an image have a length of about 23."""
TEMPLATES = ('a photo of a {}', 'a {}', '{}', 'an image of a {} in the scene')

Embed = Callable[[Sequence[str]], np.ndarray]


def fit_maps(
    classes: Sequence[ImageClass],
    synsets: Mapping[int, Synset],
    embed: Embed,
    rows: np.ndarray,
    logits: np.ndarray,
    features: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return the tensors of the model by name, float32.

    `rows` `[1000, 1280]` are the weights of the classifier; `logits` `[N, 1000]` and `features`
    `[N, 1280]` are those of unlabeled crops. `embed` returns embeddings `[N, 384]`.
    """
    names = _embed_templates(embed, [c.name for c in classes])
    synonyms = _synonyms(embed, classes)
    offsets = sorted({offset for c in classes for offset in c.hypernyms})
    above = dict(zip(offsets, _embed_templates(embed, [synsets[o].lemma for o in offsets]),
                     strict=True))  # fmt: skip
    enriched = unit(np.stack([
        0.5 * name + 0.5 * synonym
        + sum(HYPERNYM_DECAY ** (i + 1) * above[o] for i, o in enumerate(c.hypernyms))
        for c, name, synonym in zip(classes, names, synonyms, strict=True)
    ]))  # fmt: skip
    prototypes = unit(rows - rows.mean(0))
    texts = [names, synonyms, enriched]
    targets = [prototypes] * 3
    members = {o: [n for n, c in enumerate(classes) if o in c.hypernyms] for o in offsets}
    for offset, some in members.items():
        if 2 <= len(some) <= MAX_PROTOTYPE_CLASSES:
            texts.append(above[offset][None])
            targets.append(unit(prototypes[some].mean(0, keepdims=True)))
    center = np.concatenate(texts[:3]).mean(0)
    x, y = np.concatenate(texts) - center, np.concatenate(targets)
    regression = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    name_map = _basis(enriched - enriched.mean(0))
    feature_map = _basis(unit((names - center) @ regression))
    class_codes = enriched @ name_map
    tensors = {
        'class_codes': class_codes,
        'class_mean': (softmax(logits) @ class_codes).mean(0),
        'feature_mean': features.mean(0),
        'feature_map': feature_map,
        'name_map': name_map,
        'name_offset': TEXT_CENTER * enriched.mean(0) @ name_map,
        'regression': regression @ feature_map,
        'regression_offset': center @ regression @ feature_map,
    }
    return {f'encoder.{name}': values.astype(np.float32) for name, values in tensors.items()}


def fit_identity(features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the tensors of the identity codes, fitted to the features `[N, D]` of crops.

    The map consists of the principal directions, the first one first. Directions of large variance
    are reduced: their variance is raised to the power 1 − 2 `IDENTITY_WHITENING`.
    """
    mean = features.mean(0, dtype=np.float64)
    centered = features - mean
    variances, directions = np.linalg.eigh(centered.T @ centered / len(features))
    best = np.argsort(-variances)[:IDENTITY_DIM]
    scaled = directions[:, best] * np.maximum(variances[best], 1e-12) ** -IDENTITY_WHITENING
    return {  # the scale of the map does not matter; this one suits half precision
        'identity.mean': mean.astype(np.float32),
        'identity.map': (scaled / np.abs(scaled).max()).astype(np.float32),
    }


def fit_temperature(logits: np.ndarray, better: np.ndarray) -> float:
    """Return the temperature at which `logits` predict the classes of `better` logits best.

    Both `[N, 1000]` are of the same places: small crops, and the same at full resolution. There
    are no labels; the network at full resolution takes their place (Guo et al., 2017).
    """
    targets = softmax(better)

    def cost(temperature: float) -> float:
        chances = softmax(logits / temperature)
        return float(-(targets * np.log(np.maximum(chances, 1e-12))).sum(1).mean())

    return float(minimize_scalar(cost, bounds=(0.5, 5.0), method='bounded').x)


def mixed_features(
    features: np.ndarray, rows: np.ndarray, members: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Return `count` features of images that show classes which the images of `features` do not.

    The logits of the network are linear in its features, so a multiple of the mean of some rows of
    the classifier `[C, F]` makes their classes likelier. The classes are one to `MAX_MIXED` of a
    random noun, of the classes `members`, bool `[N, C]`; `features` are `[M, F]`.
    """
    rng = np.random.default_rng(seed)
    centered = rows - rows.mean(0)
    found = features[rng.integers(len(features), size=count)].copy()
    for each in found:
        classes = np.flatnonzero(members[rng.integers(len(members))])
        chosen = classes[rng.integers(len(classes), size=rng.integers(1, MAX_MIXED + 1))]
        direction = centered[chosen].mean(0)
        each += rng.uniform(0, MAX_STRENGTH) * direction / np.linalg.norm(direction)
    return found


def fit_class_map(
    codes: np.ndarray, chances: np.ndarray, penalty: float = CLASS_MAP_PENALTY
) -> tuple[np.ndarray, np.ndarray]:
    """Return the map `[D, C]` and the offset `[C]` from codes to logits of classes.

    It is a multinomial logistic regression on codes `[N, D]` with the probabilities `[N, C]` that
    the network has for the same images. `penalty` is the weight of the squares of the map.
    """
    x = np.hstack([codes, np.ones((len(codes), 1))]).astype(np.float32)
    chances = chances.astype(np.float32)
    shape = (x.shape[1], chances.shape[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape).astype(np.float32)
        found = softmax(x @ weights)
        gradient = x.T @ (found - chances) / len(x)
        gradient[:-1] += penalty * weights[:-1]
        entropy = -(chances * np.log(np.maximum(found, 1e-30))).sum() / len(x)
        value = float(entropy + 0.5 * penalty * (weights[:-1] ** 2).sum())
        return value, gradient.ravel().astype(float)

    start = np.zeros(shape)
    start[-1] = np.log(chances.mean(0) + 1e-6)
    done = minimize(
        loss, start.ravel(), jac=True, method='L-BFGS-B', options={'maxiter': CLASS_MAP_STEPS}
    )
    weights = np.asarray(done.x).reshape(shape)
    return weights[:-1].astype(np.float32), weights[-1].astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors `[N, D]` scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _embed_templates(embed: Embed, nouns: Sequence[str]) -> np.ndarray:
    return unit(np.sum([embed([t.format(noun) for noun in nouns]) for t in TEMPLATES], axis=0))


def _synonyms(embed: Embed, classes: Sequence[ImageClass]) -> np.ndarray:
    """Return the mean embedding of the synonyms of each class, of length 1."""
    every = embed([f'a photo of a {name}' for c in classes for name in c.synonyms])
    ends = np.cumsum([len(c.synonyms) for c in classes])
    return unit(np.stack([part.mean(0) for part in np.split(every, ends[:-1])]))


def _basis(vectors: np.ndarray) -> np.ndarray:
    """Return the `HALF_DIM` principal directions `[D, HALF_DIM]` of centered vectors `[N, D]`."""
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    return directions[:, ::-1][:, :HALF_DIM]
