# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the nouns that receivers of semantic codes write, and the confidence in them.

Images are those of CIFAR-10, which the calibration has not seen: 100 of each class, seen by the
encoder as 64-pixel crops, their codes sent in 64 bytes. A noun is right if it is the class or a
kind of it, as in bench/language.py. Results: out/bench/labels.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from language import KINDS, draw, read_rgb

from sage_perception.codecs.directions import pack_direction, unpack_direction
from sage_perception.core.files import write_atomically
from sage_perception.models import load_semantic
from sage_perception.models.semantic.vocabulary import MIN_CONFIDENCE, installed_vocabulary
from sage_perception.puzzle.hop_trust import calibration_error

CROP, BINS, COVERAGE = 64, 10, 0.3


def main() -> None:
    """Write the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cifar', type=Path, required=True, help='folder with a folder per class')
    parser.add_argument('--out', type=Path, default=Path('out/bench/labels.json'))
    args = parser.parse_args()
    model = load_semantic()
    vocabulary = installed_vocabulary(model.semantic_space)
    if vocabulary is None:
        raise SystemExit('semantic_text has no vocabulary: run tools/make_vocabulary.py')
    names, members = model.nouns
    right, confidence = [], []
    for label, files in draw(args.cifar, 0).items():
        allowed = np.any([members[names.index(n)] for n in KINDS[label] if n in names], axis=0)
        images = np.stack([cv2.resize(read_rgb(path), (CROP, CROP)) for path in files])
        codes = np.stack([unpack_direction(pack_direction(code)) for code in model.encode(images)])
        for found in vocabulary.nearest(codes):
            classes = members[names.index(found.noun)]
            right.append(bool(not (classes & ~allowed).any()))
            confidence.append(found.confidence)
    hits, sure = np.array(right, float), np.array(confidence)
    order = np.argsort(-sure)
    best = order[: round(COVERAGE * len(order))]
    error, _ = calibration_error(sure, hits, BINS)
    shown = sure >= MIN_CONFIDENCE
    figures = {
        'images': len(hits),
        'right': hits.mean(),
        'confidence': sure.mean(),
        'ece': error,
        'right_30': hits[best].mean(),
        'confidence_30': sure[best].mean(),
        'labeled': shown.mean(),
        'right_of_labeled': hits[shown].mean() if shown.any() else float('nan'),
    }
    rounded = {name: round(float(value), 3) for name, value in figures.items()}
    write_atomically(args.out, json.dumps(rounded, indent=1) + '\n')
    print(json.dumps(rounded))


if __name__ == '__main__':
    main()
