#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write the vocabulary of a model of semantic codes, and calibrate the confidence in its nouns.

The calibration is fitted to labeled images that registries carry and whose labels no model of this
project was trained on: the emoji of Debian's fonts-noto-color-emoji (OFL-1.1, Apache-2.0), with
parts of the training photographs as backgrounds, and photographs of opencv-doc and
python3-skimage whose names state what they show. A noun is right if it is the label, a kind of it,
or a more general noun of which it makes up half. Half of the nouns are held out; the expected
calibration error (ECE, 10 bins of equal count) is that of these.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fetch_images import download

from sage_perception.models import load_semantic
from sage_perception.models.semantic import vocabulary as vocabularies
from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.puzzle.hop_trust import calibration_error
from sage_perception.training.config import read_config
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.files import training_images

FONT_PACKAGE, FONT = 'fonts-noto-color-emoji', 'usr/share/fonts/truetype/noto/NotoColorEmoji.ttf'
FONT_SIZE, EMOJI_SIDE = 109, 136  # the only size of the font
CROP = 64
BACKGROUNDS = 1000
VIEWS = 4
"""Views of each labeled image: shifted, scaled, and on several backgrounds."""
PHOTOGRAPHS = {
    'opencv-doc/*-apple.jpg': 'apple', 'opencv-doc/*-orange.jpg': 'orange',
    'opencv-doc/*-baboon.jpg': 'baboon', 'opencv-doc/*-butterfly.jpg': 'butterfly',
    'opencv-doc/*-cards.png': 'card', 'opencv-doc/*-notes.png': 'notebook',
    'opencv-doc/*-sudoku.png': 'crossword puzzle',
    'opencv-doc/*-squirrel_cls.jpg': 'squirrel', 'python3-skimage/*-chelsea.png': 'cat',
    'python3-skimage/*-coffee.png': 'coffee', 'python3-skimage/*-rocket.jpg': 'rocket',
    'python3-skimage/*-motorcycle_left.png': 'motorcycle',
}  # fmt: skip
CHUNK, BINS = 64, 10


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--config', type=Path, default=Path('config/train/identity.yaml'))
    parser.add_argument('--model', default='semantic_text')
    parser.add_argument('--images', type=Path, default=Path('out/data/images'))
    parser.add_argument('--to', type=Path, help='folder (default: that of the model)')
    args = parser.parse_args(argv)
    model = load_semantic(args.model)
    stills = Stills(training_images(read_config(args.config).data, held_out=False))
    rng = np.random.default_rng(1)
    crops = CropConfig(CROP, smallest=64)
    backgrounds = np.stack([stills.draw(rng, crops) for _ in range(BACKGROUNDS)])
    nouns, members = model.nouns
    codes = np.concatenate([model.text(nouns[i : i + 500]) for i in range(0, len(nouns), 500)])
    bias = (encode(model, backgrounds) @ codes.T).mean(0)
    space = model.semantic_space
    draft = vocabularies.Vocabulary(space, nouns, codes, bias, (1.0, 1.0, 0.0))
    images, labels = labeled(nouns, args.images, backgrounds, rng)
    scores = draft.scores(encode(model, images))
    right = is_right(members, scores.argmax(1), labels)
    held_out = labels % 2 == 1
    logistic = fit_logistic(draft.features(scores[~held_out]), right[~held_out])
    made = vocabularies.Vocabulary(space, nouns, codes, bias, logistic)
    confidence = made.confidence_of(scores)
    error, _ = calibration_error(confidence[held_out], right[held_out], BINS)
    folder = args.to or model.artifact.path
    print(vocabularies.write(folder, made))
    figures = {
        'labels': len(set(labels)),
        'images': len(labels),
        'right': round(float(right.mean()), 3),
        'logistic': [round(value, 3) for value in logistic],
        'ece_held_out': round(error, 3),
        'confidence_held_out': round(float(confidence[held_out].mean()), 3),
        'right_held_out': round(float(right[held_out].mean()), 3),
    }
    print(json.dumps(figures))
    return 0


def encode(model: SemanticText, images: np.ndarray) -> np.ndarray:
    """Return the semantic codes of images, uint8 `[N, S, S, 3]`."""
    return np.concatenate(
        [model.encode(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
    )


def labeled(
    nouns: list[str], folder: Path, backgrounds: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return labeled crops, uint8 `[N, CROP, CROP, 3]`, and the indices of their nouns `[N]`."""
    images, labels = [], []
    for noun, emoji in emoji_of(nouns).items():
        for _ in range(VIEWS):
            background = backgrounds[rng.integers(len(backgrounds))]
            images.append(paste(emoji, background, rng))
            labels.append(nouns.index(noun))
    for pattern, noun in PHOTOGRAPHS.items():
        for path in sorted(folder.glob(pattern.strip())):
            if noun in nouns:
                image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
                images += [part(image, rng) for _ in range(VIEWS)]
                labels += [nouns.index(noun)] * VIEWS
    return np.stack(images), np.array(labels)


def emoji_of(nouns: list[str]) -> dict[str, np.ndarray]:
    """Return the emoji, uint8 RGBA, whose Unicode names are nouns of a vocabulary."""
    font = ImageFont.truetype(str(fetch_font()), FONT_SIZE)
    found: dict[str, np.ndarray] = {}
    for point in (*range(0x2600, 0x2800), *range(0x1F300, 0x1FB00)):
        name = unicodedata.name(chr(point), '').lower().removesuffix(' face')
        if name not in nouns or name in found:
            continue
        canvas = Image.new('RGBA', (EMOJI_SIDE, EMOJI_SIDE))
        ImageDraw.Draw(canvas).text((0, 0), chr(point), font=font, embedded_color=True)
        pixels = np.array(canvas)
        if pixels[..., 3].any():
            found[name] = pixels
    return found


def fetch_font() -> Path:
    """Return the font, downloaded with apt and unpacked without installing it."""
    target = Path('out/data/emoji')
    if not (target / FONT).is_file():
        archive = download(FONT_PACKAGE, target / 'debs')
        subprocess.run(['dpkg-deb', '-x', archive, target], check=True)
    return target / FONT


def paste(emoji: np.ndarray, background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a background with an emoji of a random size and place, blurred as a camera does."""
    side = int(rng.uniform(0.65, 0.95) * CROP)
    small = cv2.resize(emoji, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y = rng.integers(0, CROP - side + 1, 2)
    alpha = small[..., 3:] / 255
    image = background.astype(np.float32)
    spot = image[y : y + side, x : x + side]
    image[y : y + side, x : x + side] = alpha * small[..., :3] + (1 - alpha) * spot
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 0.8)).clip(0, 255).astype(np.uint8)


def part(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return most of an image at the size of a crop."""
    height, width = image.shape[:2]
    side = int(rng.uniform(0.8, 1.0) * min(height, width))
    x, y = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
    cut = image[y : y + side, x : x + side]
    return cv2.resize(cut, (CROP, CROP), interpolation=cv2.INTER_AREA)


def is_right(members: np.ndarray, found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether nouns are right; `members` bool `[N, 1000]` are the classes of the nouns."""
    chosen, true = members[found], members[labels]
    shared = (chosen & true).sum(1)
    kind_of = shared == chosen.sum(1)
    general = (shared == true.sum(1)) & (2 * shared >= chosen.sum(1))
    return (found == labels) | kind_of | general


def fit_logistic(features: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """Return weights, at least 0, and the constant of a logistic regression with a weak prior."""
    from scipy.optimize import minimize

    def loss(theta: np.ndarray) -> float:
        logits = features @ theta[:2] + theta[2]
        likelihood = np.logaddexp(0, np.where(right, -logits, logits)).mean()
        return float(likelihood + 1e-5 * (theta[:2] ** 2).sum())

    start = np.array([1.0, 1.0, -1.0])
    done = minimize(loss, start, bounds=[(0, None), (0, None), (None, None)])
    first, second, constant = map(float, done.x)
    return first, second, constant


if __name__ == '__main__':
    sys.exit(main())
