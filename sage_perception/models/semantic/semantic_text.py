# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The model `semantic_text`: images and texts as 64-D codes that can be compared, and nouns.

An image goes through EfficientNet-Lite0. The first half of its code is the expected embedding of
its class name (ConSE; Norouzi et al., 2014), where each class stands for its name, its synonyms
and its hypernyms in WordNet. The second half is a projection of its features. A text is mapped to
both: the embedding of a sentence encoder to the first, and its regression to the classifier's rows
(Frome et al., 2013; in the direction of Shigeto et al., 2015, which avoids hubs) to the second.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sage_perception.core.reading import read_bounded
from sage_perception.models.artifact import Artifact, ModelError, check_file
from sage_perception.models.semantic.backbone import load_backbone, to_input
from sage_perception.models.semantic.image_codes import Codes, ImageCodes
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE, NounClasses
from sage_perception.models.semantic.text_encoder import DIM, TextEncoder
from sage_perception.models.softmax import softmax

VOCABULARY, NOUNS = 'wordpiece.vocab', 'nouns.json'
IDENTITY = ('identity.mean', 'identity.map')
CLASSES = 1000
MAX_NOUNS_BYTES = 4 << 20
MAX_NOUNS = 20_000
MAX_TEXTS = 10_000
CHUNK = 64
"""Images that are scaled at a time; one takes 250 kB."""
CHOICE_TEMPERATURE = 0.15
"""Temperature of cosines in a choice of nouns."""
_PROMPT = re.compile(
    r'^\s*(?:an?|the)?\s*(?:\w+\s+)?(?:photo|photograph|pic\w*|image|drawing)\s+of\s+', re.I
)
_ARTICLE = re.compile(r'^(?:an?|the|some|two|three|many)\s', re.I)


_SHAPES: dict[str, tuple[str | int, ...]] = {
    'encoder.class_codes': (CLASSES, 'codes'),
    'encoder.class_mean': ('codes',),
    'encoder.feature_mean': ('features',),
    'encoder.feature_map': ('features', 'visual'),
    'encoder.name_map': (DIM, 'codes'),
    'encoder.name_offset': ('codes',),
    'encoder.regression': (DIM, 'visual'),
    'encoder.regression_offset': ('visual',),
    'identity.mean': ('appearance',),
    'identity.map': ('appearance', 'identity'),
}
"""Shapes of the tensors; texts are sizes that are the same wherever they occur."""


class Noun(NamedTuple):
    """A noun for an image; a higher `score` in [0, 1] makes it likelier.

    Of `SemanticText.describe`, it is the probability that the noun is true of the image, as
    measured on small photographs (the card has figures).
    """

    noun: str
    score: float


class SemanticText(ImageCodes):
    """A loaded model of semantic codes.

    Raises `ModelError` on first use if an optional package is missing; the message has the fix.
    """

    backend = 'onnxruntime'

    def __init__(self, artifact: Artifact, device: str, precision: str):
        if device == 'cuda' or precision != 'fp32':
            raise ModelError(f'{artifact.id.name} runs on the CPU in fp32: use no other setting')
        super().__init__(artifact, 'cpu', precision)
        self._t = _tensors(artifact)

    @property
    def code_dim(self) -> int:
        """Return the number of dimensions of a code."""
        return int(self._t['class_codes'].shape[1] + self._t['feature_map'].shape[1])

    @property
    def semantic_space(self) -> bytes:
        """Return the fingerprint of this model."""
        return self.id.fingerprint

    @cached_property
    def identity_space(self) -> bytes:
        """Return the SHA-256 of the map of the identity codes and of the network."""
        digest = hashlib.sha256(str(self.config.get('backbone')).encode())
        for name in IDENTITY:
            digest.update(np.ascontiguousarray(self._t[name], '<f4').tobytes())
        return digest.digest()

    @cached_property
    def _encoder(self) -> TextEncoder:
        return TextEncoder(self.artifact.path / VOCABULARY)

    @cached_property
    def nouns(self) -> tuple[list[str], np.ndarray]:
        """Return the nouns, and bool `[N, 1000]`: the classes that each noun includes."""
        path = self.artifact.path / NOUNS
        try:
            tree = json.loads(read_bounded(path, MAX_NOUNS_BYTES))
        except (ValueError, RecursionError):
            tree = None
        valid = isinstance(tree, dict) and 0 < len(tree) <= MAX_NOUNS
        if not valid or not all(map(_are_classes, tree.values())):
            raise ModelError(
                f'{path} is not a JSON object that maps at most {MAX_NOUNS} nouns to lists of '
                f'classes from 0 to {CLASSES - 1}: install the model again'
            )
        members = np.zeros((len(tree), CLASSES), bool)
        for row, classes in zip(members, tree.values(), strict=True):
            row[classes] = True
        return list(tree), members

    @cached_property
    def _noun_classes(self) -> NounClasses:
        return NounClasses(self.nouns[1])

    def codes(self, images: np.ndarray) -> Codes:
        """Return both codes of images, from one pass of the network."""
        outputs = self._outputs(images)
        identity = (appearance(outputs) - self._t['identity.mean']) @ self._t['identity.map']
        return Codes(self.semantic(outputs['logits'], outputs['features']), _unit(identity))

    def semantic(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the semantic codes of logits `[B, 1000]` and features `[B, F]` of the network."""
        t = self._t
        name = softmax(logits) @ t['class_codes'] - t['class_mean']
        return _joined(name, (features - t['feature_mean']) @ t['feature_map'])

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, `[B, 1000]`, at the temperature of the model.

        It makes those of 64-pixel crops agree with those of the same crops at 224 pixels.
        """
        return softmax(self._outputs(images)['logits'] / self.temperature)

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Return the codes of texts, float32 `[B, 64]` of length 1.

        A phrase such as "a photo of" before the subject is removed, and a single noun gets an
        article, because the space is made of such phrases. Raises `ModelError` for text that is
        not a string, or for more than `MAX_TEXTS`.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ModelError("texts must be a list of strings, such as ['a dog']")
        if len(texts) > MAX_TEXTS:
            raise ModelError(f'{len(texts)} texts: at most {MAX_TEXTS} at a time')
        e = self._encoder([subject(text) for text in texts])
        t = self._t
        name = e @ t['name_map'] - t['name_offset']
        visual = e @ t['regression'] - t['regression_offset']
        return _joined(name, visual)

    def choose(self, images: np.ndarray, nouns: Sequence[str]) -> list[list[Noun]]:
        """Return the given nouns for each image, the best first, with scores of sum 1.

        The scores are the softmax of the cosines of the codes at `CHOICE_TEMPERATURE`. Raises
        `ModelError` as `text` and `encode` do, without nouns, and for nouns that are empty or
        given twice.
        """
        if not nouns or not all(nouns) or len(set(nouns)) < len(nouns):
            raise ModelError(f'nouns must be distinct and not empty: {list(nouns)}')
        chances = softmax(self.encode(images) @ self.text(nouns).T / CHOICE_TEMPERATURE)
        return [
            [Noun(nouns[i], float(row[i])) for i in np.argsort(-row, kind='stable')]
            for row in chances
        ]

    def describe(
        self, images: np.ndarray, count: int = 3, min_score: float = MIN_CONFIDENCE
    ) -> list[list[Noun]]:
        """Return the `count` best nouns of each image, the best first.

        The score of a noun is the sum of the probabilities of the classes it includes, see
        `classify`. The first noun is the most specific one with a score of at least `min_score`,
        such as "dog" where no breed reaches it; see `NounClasses.ranking` for images without one.
        Nouns that only restate a better one in other terms are left out.
        """
        names, members = self.nouns
        chances = self._noun_classes.chances(self.classify(images))
        ranking = self._noun_classes.ranking(chances, min_score)
        orders = np.argsort(-ranking, axis=1, kind='stable')
        return [
            _distinct(names, members, row, order, count)
            for row, order in zip(chances, orders, strict=True)
        ]

    def _outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the network, scaling `CHUNK` images at a time to bound memory."""
        images, backbone = np.asarray(images), load_backbone()
        chunks = images.ndim == 4 and len(images) > CHUNK
        firsts = range(0, len(images), CHUNK) if chunks else [0]
        parts = [
            backbone(to_input(images[i : i + CHUNK] if chunks else images, self.input_size))
            for i in firsts
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @property
    def temperature(self) -> float:
        """Return the divisor of the logits of `classify`; raise `ModelError` if it is damaged."""
        value = self.config.get('temperature')
        if not isinstance(value, (int, float)) or not 0.1 < value < 10:
            raise ModelError(f'{self.artifact.path}: config.temperature is {value!r}')
        return float(value)


def load_semantic_text(artifact: Artifact, device: str, precision: str) -> SemanticText:
    """Return the loaded model; raise `ModelError` if files of the artifact were altered."""
    for file in (VOCABULARY, NOUNS):
        if not (artifact.path / file).is_file():
            check_file(artifact.path / file, '')
    return SemanticText(artifact, device, precision)


def _tensors(artifact: Artifact) -> dict[str, np.ndarray]:
    """Return the tensors of `_SHAPES`, float32; raise `ModelError` if they do not fit together."""
    found: dict[str, np.ndarray] = {}
    sizes: dict[str | int, int] = {}
    for name, shape in _SHAPES.items():
        values = artifact.tensor(name).astype(np.float32)
        for size, given in zip(shape, values.shape, strict=False):
            sizes.setdefault(size, given if isinstance(size, str) else size)
        wanted = tuple(sizes.get(size, 0) for size in shape)
        if values.shape != wanted or not np.isfinite(values).all():
            raise ModelError(
                f'{artifact.path}: {name} is damaged, or of shape {list(values.shape)} instead of '
                f'{list(wanted)}: install the model again'
            )
        found[name.removeprefix('encoder.')] = values
    return found


def _are_classes(value: Any) -> bool:
    """Return whether a value of a JSON file is a list of at least one class."""
    return (
        isinstance(value, list)
        and 0 < len(value) <= CLASSES
        and all(type(number) is int and 0 <= number < CLASSES for number in value)
    )


def subject(text: str) -> str:
    """Return a text without a phrase such as "a photo of", with an article before a bare noun."""
    words = ' '.join(text.split())  # before the expression, whose time grows with long gaps
    bare = _PROMPT.sub('', words).rstrip('.')
    return bare if not bare or _ARTICLE.match(bare) else f'a {bare}'


def _distinct(
    names: Sequence[str], members: np.ndarray, chances: np.ndarray, order: np.ndarray, count: int
) -> list[Noun]:
    """Return the best nouns, none of which includes or is included in a better one."""
    kept: list[int] = []
    for noun in order:
        if len(kept) == count:
            break
        overlaps = any((members[noun] & members[other]).any() for other in kept)
        if not overlaps:
            kept.append(int(noun))
    return [Noun(names[i], float(min(chances[i], 1.0))) for i in kept]


def appearance(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the features that identity codes are made of, float32 `[B, 1392]`.

    These are the averaged maps of stride 16 and the final features, each of length 1.
    """
    return np.hstack([_unit(outputs['map16']), _unit(outputs['features'])])


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


def _joined(name: np.ndarray, visual: np.ndarray) -> np.ndarray:
    """Return both halves of codes, each of equal weight, as vectors of length 1."""
    halves = [_unit(name), _unit(visual)]
    return (np.concatenate(halves, axis=1) * np.float32(np.sqrt(0.5))).astype(np.float32)
