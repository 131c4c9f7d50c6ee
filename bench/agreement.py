# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well the similarity of latents tells the same mover from another one.

Movers are cut out of the demo's footage by our own attention, and once more as a second camera
would see them: shifted by up to 12 % of the region, scaled by up to 15 %, up to 25 % brighter or
darker.
Prints one JSON object with the area under the ROC curve of the cosine of raw, centred and whitened
latents: the share of pairs (same mover, other mover of the same frame) in the right order.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from sage_perception.latent import Roi
from sage_perception.models import load
from sage_perception.trust.agreement import centre, cosine_matrix
from sage_perception.vision.attention import MotionAttention
from sage_perception.vision.crops import crop_image
from sage_perception.vision.sources import EndOfStream, open_source

SHIFT, SCALE, GAIN = 0.12, 0.15, 0.25
EVERY = 15  # frames between two looks, so that the movers have changed


def second_view(image: np.ndarray, roi: Roi, rng: np.random.Generator) -> np.ndarray:
    """Return the crop of `roi` as another camera would have it, uint8 `[64, 64, 3]`."""
    side = round(roi.width * (1 + rng.uniform(-SCALE, SCALE)))
    side = min(side, *image.shape[:2])
    x, y = (
        int(np.clip(corner + (roi.width - side) / 2 + rng.uniform(-SHIFT, SHIFT) * side, 0, most))
        for corner, most in ((roi.x, image.shape[1] - side), (roi.y, image.shape[0] - side))
    )
    crop = crop_image(image, Roi(x, y, side, side), 64, 'rgb')
    return (crop * (1 + rng.uniform(-GAIN, GAIN))).clip(0, 255).astype(np.uint8)


def auc(same: np.ndarray, other: np.ndarray) -> float:
    """Return the share of (same, other) pairs in which the same one is the more similar."""
    return float((same[:, None] > other[None, :]).mean())


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--footage', type=Path, default=Path('out/data/footage'))
    parser.add_argument('--model', default='tinyvae')
    args = parser.parse_args()
    videos = sorted(args.footage.rglob('*vtest.avi'))
    if not videos:
        print(f'no footage in {args.footage}: run tools/fetch_footage.py', file=sys.stderr)
        return 1
    model = load(args.model)
    rng = np.random.default_rng(0)
    attention = MotionAttention()
    scores = {'raw': ([], []), 'centred': ([], []), 'whitened': ([], [])}
    with open_source(f'file://{videos[0].resolve()}?pace=fast&loop=false&size=640x480') as source:
        for number in range(10**6):
            try:
                image = source.read(1.0).image
            except EndOfStream:
                break
            crops = attention.attend(image, number / 10)
            if number % EVERY or len(crops) < 2:
                continue
            seconds = [second_view(image, crop.roi, rng) for crop in crops]
            pictures = np.stack([crop.image for crop in crops] + seconds)
            latents = model.encode(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255)
            centred = centre(latents, model.latent_mean)
            spaces = {'raw': latents, 'centred': centred, 'whitened': centred / model.latent_std}
            for name, space in spaces.items():
                cosines = cosine_matrix(*np.split(space, 2))
                same, other = scores[name]
                same.extend(np.diag(cosines))
                other.extend(cosines[~np.eye(len(crops), dtype=bool)])
    result = {f'auc_{name}': round(auc(*map(np.array, s)), 4) for name, s in scores.items()}
    result['pairs'] = {'same': len(scores['raw'][0]), 'other': len(scores['raw'][1])}
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
