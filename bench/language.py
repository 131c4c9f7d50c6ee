# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure codes of images and texts: search by words, naming, and colors with nouns.

`cifar_p10` is the precision of the ten best of 1,000 CIFAR-10 images for the ten class names in
one prompt, `cifar_zero_shot` the share of images whose own class name is the most similar; both
are means over five draws of 100 images per class. `davis_fit` is the share of masked objects of
DAVIS for which their own text of davis_words.json, which was written before the first measurement,
is the most similar of the texts for things; null without --davis. `davis_fit_all` includes the
texts for people, and `davis_fit_track` compares the mean code of an object so far, as
`TrackLabels` does.
`describe_named` is the share of CIFAR images that get a noun of a score of 0.7, and
`describe_right_of_named` the share of these nouns that are true: the class, a kind of it, or a
more general noun that includes it. `describe_kind_of_named` leaves out the more general ones, and
`describe_classes_of_named` is the median number of classes that a noun includes. The precision at
30% is that of the images of the highest score. `choose` is the same with the ten class names as
the only nouns. Colors are measured on images that this file makes: objects of CIFAR in gray, of
which the center gets a color; a result is right if noun and color are. `decoded` has the figures
of search for the same images after a crop codec has encoded and decoded them: `sage memory search`
compares words with decoded latents.

Neither set has been trained on; some constants of the model were chosen on 1,000 CIFAR images (see
its card). Results: out/bench/language.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from memory import masked
from result_file import add_out, show_result, write_result

from sage_perception.memory.words import rank_by_words
from sage_perception.models import Codec, load_crop_codec, load_semantic
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE
from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.pipeline.track_labels import MeanCode
from sage_perception.vision.crops import to_pixels

PROMPT = 'a photo of a {}'
SEEDS, PER_CLASS, BEST = 5, 100, 10
COVERAGE = 0.3
WORDS = Path(__file__).with_name('davis_words.json')
FRAME_STEP = 5
KINDS = {
    'airplane': ('airplane', 'airliner', 'military aircraft'),
    'automobile': ('car',),
    'bird': ('bird',),
    'cat': ('cat',),
    'deer': ('deer',),
    'dog': ('dog',),
    'frog': ('frog',),
    'horse': ('horse', 'common sorrel horse'),
    'ship': ('ship', 'vessel'),
    'truck': ('truck',),
}
GENERAL = {'deer': ('animal',)}
"""More general nouns of a class that the network has no class for."""
TINTS = {
    'red': (220, 40, 40), 'yellow': (235, 215, 50), 'green': (50, 170, 60),
    'blue': (50, 90, 220), 'purple': (150, 60, 190), 'orange': (240, 140, 30),
}  # fmt: skip
TINTED, TINTED_NOUNS = 8, ('automobile', 'bird', 'dog', 'horse', 'ship')
CHUNK = 100


class DecodedImages:
    """The model on images that a codec has encoded and decoded, as the records of a memory are."""

    def __init__(self, model: SemanticText, codec: Codec):
        self.text, self._model, self._codec = model.text, model, codec

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes of images, uint8 RGB `[N, H, W, 3]`."""
        return self._model.encode(self.decoded(images))

    def decoded(self, images: np.ndarray) -> np.ndarray:
        """Return images after the codec, uint8 RGB `[N, S, S, 3]`."""
        side = self._codec.input_size
        crops = np.stack([cv2.resize(each, (side, side)) for each in images])
        z = self._codec.encode(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        return to_pixels(self._codec.decode(z))


def encode(model: SemanticText | DecodedImages, images: list[np.ndarray]) -> np.ndarray:
    """Return the codes of images of one size, uint8 RGB."""
    parts = [np.stack(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
    return np.concatenate([model.encode(part) for part in parts])


def read_rgb(path: Path) -> np.ndarray:
    """Return an image, uint8 RGB."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def draw(folder: Path, seed: int) -> dict[str, list[Path]]:
    """Return `PER_CLASS` random images by class."""
    rng = np.random.default_rng(seed)
    return {
        each.name: [files[i] for i in rng.permutation(len(files))[:PER_CLASS]]
        for each in sorted(folder.iterdir())
        if each.is_dir() and (files := sorted(each.glob('*.jpg')))
    }


def cifar(model: SemanticText | DecodedImages, folder: Path, seeds: int) -> dict:
    """Return precision and zero-shot accuracy, by seed too."""
    known: dict[Path, np.ndarray] = {}
    p10, accuracy = [], []
    for seed in range(seeds):
        drawn = draw(folder, seed)
        files = [path for some in drawn.values() for path in some]
        new = [path for path in files if path not in known]
        codes = encode(model, [read_rgb(path) for path in new])
        known |= dict(zip(new, codes, strict=True))
        names = list(drawn)
        labels = np.repeat(np.arange(len(names)), [len(some) for some in drawn.values()])
        texts = model.text([PROMPT.format(name) for name in names])
        cosines = np.stack([known[path] for path in files]) @ texts.T
        best = np.argsort(-cosines, axis=0)[:BEST]
        p10.append(float((labels[best] == np.arange(len(names))).mean()))
        accuracy.append(float((cosines.argmax(1) == labels).mean()))
    return {
        'cifar_p10': round(float(np.mean(p10)), 4),
        'cifar_p10_by_seed': p10,
        'cifar_zero_shot': round(float(np.mean(accuracy)), 4),
        'cifar_zero_shot_by_seed': accuracy,
    }


class Truth:
    """Which nouns are true of the images of CIFAR."""

    def __init__(self, model: SemanticText):
        self.names, self.members = model.nouns

    def of(self, label: str, noun: str) -> tuple[bool, bool]:
        """Return whether a noun is true of a class, and whether it is no more general."""
        chosen = self.members[self.names.index(noun)]
        allowed = np.zeros(len(chosen), bool)
        for name in KINDS[label]:
            if name in self.names:
                allowed |= self.members[self.names.index(name)]
        if not allowed.any():
            return noun in GENERAL.get(label, ()), False
        kind = not (chosen & ~allowed).any()
        return bool(kind or not (allowed & ~chosen).any()), bool(kind)

    def figures(self, name: str, labels: list[str], nouns: list[str], scores: list[float]) -> dict:
        """Return the figures of nouns for images of the classes `labels`."""
        found = np.array([self.of(*each) for each in zip(labels, nouns, strict=True)])
        named = np.array(scores) >= MIN_CONFIDENCE
        classes = [int(self.members[self.names.index(noun)].sum()) for noun in nouns]
        return {
            f'{name}_named': round(float(named.mean()), 4),
            f'{name}_right_of_named': round(float(found[named, 0].mean()), 4),
            f'{name}_score_of_named': round(float(np.array(scores)[named].mean()), 4),
            f'{name}_kind_of_named': round(float(found[named, 1].mean()), 4),
            f'{name}_classes_of_named': float(np.median(np.array(classes)[named])),
            **selective(name, found[:, 0].tolist(), scores),
        }


def descriptions(model: SemanticText, drawn: dict[str, list[Path]]) -> dict:
    """Return the figures of the best noun, and those of a choice among the classes."""
    truth = Truth(model)
    labels, nouns, scores, chosen_right, chosen_score = [], [], [], [], []
    for label, files in drawn.items():
        images = np.stack([read_rgb(path) for path in files])
        for first in model.choose(images, list(drawn)):
            chosen_right.append(first[0].noun == label)
            chosen_score.append(first[0].score)
        for first in model.describe(images, 1):
            labels.append(label)
            nouns.append(first[0].noun)
            scores.append(first[0].score)
    return truth.figures('describe', labels, nouns, scores) | selective(
        'choose', chosen_right, chosen_score
    )


def selective(name: str, right: list[bool], score: list[float]) -> dict[str, float]:
    """Return precision and mean score of the `COVERAGE` with the highest scores, and of all."""
    order = np.argsort(-np.array(score))
    hits, sure = np.array(right)[order], np.array(score)[order]
    count = round(COVERAGE * len(order))
    return {
        f'{name}_precision_30': round(float(hits[:count].mean()), 4),
        f'{name}_score_30': round(float(sure[:count].mean()), 4),
        f'{name}_precision_100': round(float(hits.mean()), 4),
        f'{name}_score_100': round(float(sure.mean()), 4),
    }


def davis(model: SemanticText | DecodedImages, folder: Path) -> dict:
    """Return the share of objects whose own text is the most similar."""
    words = json.loads(WORDS.read_text())
    codes: dict[str, np.ndarray] = {}
    averaged: dict[str, np.ndarray] = {}
    for name in (*words['things'], *words['people']):
        objects = masked(folder / 'JPEGImages' / name, folder / 'Annotations' / name)
        seen = [(number, crop) for frame, number, crop, _ in objects if frame % FRAME_STEP == 0]
        codes[name] = encode(model, [crop for _, crop in seen])
        averaged[name] = means([number for number, _ in seen], codes[name])

    def fit(texts: dict[str, str], codes: dict[str, np.ndarray]) -> tuple[float, dict[str, float]]:
        options = sorted(set(texts.values()))
        targets = model.text(options)
        by = {
            name: [options[i] == text for i in (codes[name] @ targets.T).argmax(1)]
            for name, text in texts.items()
        }
        every = [hit for hits in by.values() for hit in hits]
        return round(float(np.mean(every)), 4), {
            name: round(float(np.mean(hits)), 3) for name, hits in by.items()
        }

    things, by = fit(words['things'], codes)
    every = words['things'] | words['people']
    return {
        'davis_fit': things,
        'davis_fit_by_clip': by,
        'davis_fit_all': fit(every, codes)[0],
        'davis_fit_track': fit(words['things'], averaged)[0],
        'davis_fit_track_all': fit(every, averaged)[0],
    }


def means(tracks: list[int], codes: np.ndarray) -> np.ndarray:
    """Return the mean of the codes of each track so far, `[N, D]`, in the order of the codes."""
    mean: dict[int, MeanCode] = {}
    found = []
    for track, code in zip(tracks, codes, strict=True):
        mean[track] = mean[track].with_code(code) if track in mean else MeanCode(code, 1)
        found.append(mean[track].code)
    return np.stack(found)


def tinted(folder: Path) -> tuple[list[np.ndarray], list[tuple[str, str]]]:
    """Return images of objects in a known color, uint8 RGB, and their color and noun."""
    images, labels = [], []
    drawn = draw(folder, 100)
    y, x = (np.mgrid[:32, :32] - 15.5) / 32
    mask = np.exp(-(((x**2 + y**2) / (2 * 0.28**2)) ** 2))[..., None]
    for noun in TINTED_NOUNS:
        files = iter(drawn[noun])
        for color, tint in TINTS.items():
            for path in (next(files) for _ in range(TINTED)):
                gray = cv2.cvtColor(read_rgb(path), cv2.COLOR_RGB2GRAY).astype(np.float32)[
                    ..., None
                ]
                colored = np.clip(gray / 128, 0.4, 1.5) * np.float32(tint)
                images.append((mask * colored + (1 - mask) * gray).clip(0, 255).astype(np.uint8))
                labels.append((color, noun))
    return images, labels


def colors(model: SemanticText | DecodedImages, folder: Path) -> dict:
    """Return the precision of the `TINTED` best results for a color with a noun, and of colors."""
    images, labels = tinted(folder)
    codes = encode(model, images)
    shown = np.stack(images)
    shown = model.decoded(shown) if isinstance(model, DecodedImages) else shown
    hits, right_colors = [], []
    for color in TINTS:
        for noun in TINTED_NOUNS:
            order = np.argsort(-rank_by_words(model, f'a {color} {noun}', codes, shown))
            hits.append(np.mean([labels[i] == (color, noun) for i in order[:TINTED]]))
            right_colors.append(np.mean([labels[i][0] == color for i in order[:TINTED]]))
    return {
        'colour_noun_p10': round(float(np.mean(hits)), 4),
        'colour_p10': round(float(np.mean(right_colors)), 4),
        'colour_noun_chance': round(1 / (len(TINTS) * len(TINTED_NOUNS)), 4),
        'colour_noun_images': len(images),
    }


def main() -> None:
    """Write the figures, and print the main ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cifar', type=Path, required=True, help='folder with a folder per class')
    parser.add_argument('--davis', type=Path, help='folder with Annotations and JPEGImages')
    parser.add_argument('--codec', default='tinyvae', help='crop codec of the figures `decoded`')
    parser.add_argument('--seeds', type=int, default=SEEDS)
    add_out(parser, 'language')
    args = parser.parse_args()
    model = load_semantic()
    figures = cifar(model, args.cifar, args.seeds) | descriptions(model, draw(args.cifar, 0))
    figures |= colors(model, args.cifar)
    decoded = DecodedImages(model, load_crop_codec(args.codec))
    figures['decoded'] = {'codec': args.codec, **cifar(decoded, args.cifar, args.seeds)}
    figures['decoded'] |= colors(decoded, args.cifar)
    figures['davis_fit'] = None
    if args.davis:
        figures |= davis(model, args.davis)
        figures['decoded'] |= davis(decoded, args.davis)
    crops = np.zeros((16, 64, 64, 3), np.uint8)
    start = time.thread_time()
    model.encode(crops)
    figures['ms_per_crop'] = round(1e3 * (time.thread_time() - start) / len(crops), 2)
    figures['image_size'] = model.input_size
    write_result(args.out, figures)
    show_result(figures)


if __name__ == '__main__':
    main()
