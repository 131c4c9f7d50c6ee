# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the nouns that receivers of semantic codes write, and the confidence in them.

Images are those of CIFAR-10, which no fit has seen: 100 of each class, seen by the encoder as
64-pixel crops, their codes sent in 64 bytes. The figures are those of bench/language.py. `ece` is
the expected calibration error of the confidence. Results: out/bench/labels.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from language import Truth, draw, read_rgb
from result_file import add_out, show_result, write_result

from sage_perception.codecs.directions import pack_direction, unpack_direction
from sage_perception.models import load_semantic
from sage_perception.models.semantic.vocabulary import installed_vocabulary
from sage_perception.puzzle.hop_trust import calibration_error

CROP, BINS = 64, 10


def main() -> None:
    """Write the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cifar', type=Path, required=True, help='folder with a folder per class')
    add_out(parser, 'labels')
    args = parser.parse_args()
    model = load_semantic()
    vocabulary = installed_vocabulary(model.semantic_space)
    if vocabulary is None:
        raise SystemExit('semantic_text has no vocabulary: run tools/make_vocabulary.py')
    truth = Truth(model)
    labels, nouns, confidence = [], [], []
    for label, files in draw(args.cifar, 0).items():
        images = np.stack([cv2.resize(read_rgb(path), (CROP, CROP)) for path in files])
        codes = np.stack([unpack_direction(pack_direction(code)) for code in model.encode(images)])
        for found in vocabulary.nearest(codes):
            labels.append(label)
            nouns.append(found.noun)
            confidence.append(found.confidence)
    right = [truth.of(*each)[0] for each in zip(labels, nouns, strict=True)]
    error, _ = calibration_error(np.array(confidence), np.array(right, float), BINS)
    figures = truth.figures('label', labels, nouns, confidence)
    rounded = {'images': len(labels), 'ece': round(float(error), 3), **figures}
    write_result(args.out, rounded)
    show_result(rounded)


if __name__ == '__main__':
    main()
