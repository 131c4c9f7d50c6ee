#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write the vocabulary of a model of semantic codes, and measure its nouns on labeled images.

The map from codes to classes is fitted to what the network of the model finds in images without
labels: parts of the training photographs, emoji of Debian's fonts-noto-color-emoji (OFL-1.1,
Apache-2.0) before such parts, and the features of both with rows of the classifier mixed in. The
labeled images are the other half of the emoji whose names are nouns, and photographs of opencv-doc
and python3-skimage whose names state what they show. A noun is right if it is the label, a kind of
it, or a more general noun.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fetch_images import download

from sage_perception.models import load_semantic
from sage_perception.models.networks.efficientnet import load_efficientnet
from sage_perception.models.semantic import vocabulary as vocabularies
from sage_perception.models.semantic.backbone import load_backbone, to_input
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE
from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.models.softmax import softmax
from sage_perception.puzzle.hop_trust import calibration_error
from sage_perception.training.config import read_config
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.files import training_images
from sage_perception.training.semantic.fit import fit_class_map, mixed_features

FONT_PACKAGE, FONT = 'fonts-noto-color-emoji', 'usr/share/fonts/truetype/noto/NotoColorEmoji.ttf'
FONT_SIZE, EMOJI_SIDE = 109, 136  # the only size of the font
CROP = 64
BACKGROUNDS = 1000
"""Parts of photographs."""
MIXED = 3000
"""Features with rows of the classifier mixed in."""
VIEWS = 4
"""Views of each emoji and labeled image: shifted, scaled, and on several backgrounds."""
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
    parts = np.stack([stills.draw(rng, crops) for _ in range(BACKGROUNDS)])
    nouns, members = model.nouns
    emoji = [(noun, image) for noun, image in read_emoji().items() if noun in nouns]
    pasted = [
        paste(image, parts[i], rng)
        for _, image in emoji[1::2]
        for i in rng.integers(BACKGROUNDS, size=VIEWS)
    ]
    codes, chances = learned(model, np.concatenate([parts, np.stack(pasted)]), members)
    class_map, class_offset = fit_class_map(codes, chances)
    texts = np.concatenate([model.text(nouns[i : i + 500]) for i in range(0, len(nouns), 500)])
    bias = (codes[:BACKGROUNDS] @ texts.T).mean(0)
    made = vocabularies.Vocabulary(
        model.semantic_space, nouns, texts, bias, members, class_map, class_offset
    )
    print(vocabularies.write(args.to or model.artifact.path, made))
    images, labels = labeled(nouns, dict(emoji[::2]), args.images, parts, rng)
    found = made.nearest(model.encode(images))
    confidence = np.array([each.confidence for each in found])
    named = confidence >= MIN_CONFIDENCE
    right = is_right(members, np.array([nouns.index(each.noun) for each in found]), labels)
    error, _ = calibration_error(confidence, right.astype(float), BINS)
    figures = {
        'fitted': len(codes),
        'labels': len(set(labels)),
        'images': len(labels),
        'named': named.mean(),
        'right_of_named': right[named].mean() if named.any() else float('nan'),
        'confidence_of_named': confidence[named].mean() if named.any() else float('nan'),
        'ece': error,
    }
    print(json.dumps({name: round(float(value), 3) for name, value in figures.items()}))
    return 0


def learned(
    model: SemanticText, images: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return codes of images and of mixed features, and the probabilities of the classes."""
    backbone, layer = load_backbone(), load_efficientnet()._fc
    rows, offset = (each.detach().numpy() for each in (layer.weight, layer.bias))
    parts = [
        backbone(to_input(images[i : i + CHUNK], model.input_size))['features']
        for i in range(0, len(images), CHUNK)
    ]
    features = np.concatenate(parts)
    features = np.concatenate([features, mixed_features(features, rows, members, MIXED, seed=1)])
    logits = features @ rows.T + offset
    return model.semantic(logits, features), softmax(logits / model.temperature)


def labeled(
    nouns: list[str],
    emoji: Mapping[str, np.ndarray],
    folder: Path,
    parts: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return labeled crops, uint8 `[N, CROP, CROP, 3]`, and the indices of their nouns `[N]`."""
    images, labels = [], []
    for name in emoji:
        numbers = rng.integers(BACKGROUNDS, size=VIEWS)
        images += [paste(emoji[name], parts[i], rng) for i in numbers]
        labels += [nouns.index(name)] * VIEWS
    for pattern, noun in PHOTOGRAPHS.items():
        for path in sorted(folder.glob(pattern)):
            if noun in nouns:
                image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
                images += [part(image, rng) for _ in range(VIEWS)]
                labels += [nouns.index(noun)] * VIEWS
    return np.stack(images), np.array(labels)


def read_emoji() -> dict[str, np.ndarray]:
    """Return the emoji, uint8 RGBA, by their Unicode names in lower case."""
    font = ImageFont.truetype(str(fetch_font()), FONT_SIZE)
    found: dict[str, np.ndarray] = {}
    for point in (*range(0x2600, 0x2800), *range(0x1F300, 0x1FB00)):
        name = unicodedata.name(chr(point), '').lower().removesuffix(' face')
        canvas = Image.new('RGBA', (EMOJI_SIDE, EMOJI_SIDE))
        ImageDraw.Draw(canvas).text((0, 0), chr(point), font=font, embedded_color=True)
        pixels = np.array(canvas)
        if name and name not in found and pixels[..., 3].any():
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
    return (found == labels) | (shared == chosen.sum(1)) | (shared == true.sum(1))


if __name__ == '__main__':
    sys.exit(main())
