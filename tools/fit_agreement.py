#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the agreement of the crops of two cameras for a model, and write its `agreement.json`.

Pairs are views of places of images that the model's identity head was not trained on, and that
bench/agreement.py does not use: shifted, scaled, sheared and re-exposed. Other things are other
places of the same image, without pairs of places of one material, such as two parts of a sky:
those whose thumbnails are more similar than half of the pairs of one place. One fit has the cues
of the latents, the other one also the identity codes that encoders send. Run it again after the
identity head or the code model has changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from sage_perception.core.discrimination import auroc, tpr_at_fpr
from sage_perception.models import load_codes, load_crop_codec
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.crops import Stills
from sage_perception.training.data.files import training_images
from sage_perception.training.latents import encode_crops
from sage_perception.training.tasks.identity.views import sample_views
from sage_perception.training.trust.agreement import fit_by_image, fit_colors
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.matching import center, cosine_matrix

SCENES, SEED, CROP, PARTS = 400, 5, 64, 2
CHUNK = 64
BENCHMARK = ('motorcycle', 'aloe', 'graf', 'leuven', 'vtest')
"""Parts of the names of the images of bench/agreement.py."""
THUMBNAIL = 'thumbnail'


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--config', type=Path, default=Path('config/train/identity.yaml'))
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--code-model', default='semantic_text')
    parser.add_argument('--scenes', type=int, default=SCENES)
    parser.add_argument('--to', type=Path, help='folder (default: that of the model)')
    args = parser.parse_args(argv)
    codec, codes = load_crop_codec(args.model), load_codes(args.code_model)
    views, images = held_out_views(read_config(args.config), args.scenes)
    scenes, places = views.shape[:2]
    crops = views.reshape(-1, CROP, CROP, 3)
    latents = encode_crops(codec, crops)
    color_map, color_offset = fit_colors(latents, crops, PARTS)
    head = codec.identity_head
    nothing = [agreement.Fit({agreement.LATENT: agreement.CueFunction((0, 1), (0, 1))}, {0.5: 0})]
    colors = agreement.AgreementModel('', '', color_map, color_offset, nothing)
    weighted = center(latents, codec.latent_mean.ravel(), similarity_weights(codec))
    features = {agreement.LATENT: weighted, agreement.COLOR: colors.colors(latents)}
    if head is not None:
        features[agreement.HEAD] = head(latents)
    features[agreement.CODE] = np.concatenate(
        [codes.identity(crops[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)]
    )
    features[THUMBNAIL] = thumbnails(crops)
    same, other = {}, {}
    diagonal = np.eye(places, dtype=bool)
    for name, values in features.items():
        shaped = values.reshape(scenes, places, 2, -1)
        compare = colors.color_similarity if name == agreement.COLOR else cosine_matrix
        pairs = np.stack([compare(each[:, 0], each[:, 1]) for each in shaped])
        same[name], other[name] = pairs[:, diagonal].ravel(), pairs[:, ~diagonal].ravel()
    distinct = other[THUMBNAIL] < np.median(same[THUMBNAIL])
    other = {name: values[distinct] for name, values in other.items()}
    same_images = np.repeat(images, places)
    other_images = np.repeat(images, places * (places - 1))[distinct]
    of_latents = [name for name in agreement.CUES if name in features and name != agreement.CODE]
    fits = []
    for names in (of_latents, [*of_latents, agreement.CODE]):
        chosen = ({name: cues[name] for name in names} for cues in (same, other))
        fit = fit_by_image(*chosen, same_images, other_images)
        fits.append(fit)
        scores = fit.log_ratio(same), fit.log_ratio(other)
        print(json.dumps({
            'cues': names,
            'auroc': round(auroc(*scores), 4),
            'tpr_at_fpr_1pct': round(tpr_at_fpr(*scores, 0.01), 4),
            'pairs': [len(scores[0]), len(scores[1])],
            'images': len(set(images)),
            'thresholds': {rate: round(value, 2) for rate, value in fit.thresholds.items()},
            'alone': {n: round(auroc(same[n], other[n]), 4) for n in names},
        }))  # fmt: skip
    fingerprint = codec.id.fingerprint.hex()
    digest = '' if head is None else head.digest
    model = agreement.AgreementModel(
        fingerprint, digest, color_map, color_offset, fits, codes.identity_space.hex()
    )
    print(model.write(args.to or codec.artifact.path))
    return 0


def held_out_views(config: RunConfig, scenes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of places, uint8 `[N, P, 2, S, S, 3]`, and the numbers of their images."""
    files = training_images(config.data, held_out=True)
    files = [path for path in files if not any(part in path.name for part in BENCHMARK)]
    each = scenes // len(files)
    found = [sample_views(Stills([path]), CROP, each, SEED)[:, :, :2] for path in files]
    return np.concatenate(found), np.repeat(np.arange(len(files)), each)


def thumbnails(crops: np.ndarray) -> np.ndarray:
    """Return 8×8 means of crops minus their overall mean, `[N, 192]`."""
    side = CROP // 8
    small = crops.reshape(len(crops), 8, side, 8, side, 3).mean((2, 4)).reshape(len(crops), -1)
    return small - small.mean(1, keepdims=True)


if __name__ == '__main__':
    sys.exit(main())
