#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the agreement of the crops of two cameras for a model, and write its `agreement.json`.

Pairs are views of places of images that the model's identity head was not trained on, and that
bench/agreement.py does not use: shifted, scaled, sheared and re-exposed. Other things are other
places of the same image, without pairs of places of one material, such as two parts of a sky:
those whose thumbnails are more similar than half of the pairs of one place. One fit has the cues
of the latents, the others also the identity codes that encoders send, of one of two models. The
places of a scene are the crops of an image for the thresholds in images. Run it again after the
identity head or a code model has changed.
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
from sage_perception.training.trust.agreement import CODE_MODELS, Scenes, fit_by_image, fit_colors
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
    parser.add_argument('--scenes', type=int, default=SCENES)
    parser.add_argument('--to', type=Path, help='folder (default: that of the model)')
    args = parser.parse_args(argv)
    codec = load_crop_codec(args.model)
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
    spaces = {}
    for cue, name in CODE_MODELS.items():
        model = load_codes(name)
        spaces[cue] = model.identity_space.hex()
        features[cue] = np.concatenate(
            [model.identity(crops[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)]
        )
    features[THUMBNAIL] = thumbnails(crops)
    cues, own = {}, {}
    for name, values in features.items():
        shaped = values.reshape(scenes, places, 2, -1)
        compare = colors.color_similarity if name == agreement.COLOR else cosine_matrix
        cues[name] = np.stack([compare(each[:, 0], each[:, 1]) for each in shaped])
        own[name] = np.stack(
            [[compare(each[:, view], each[:, view]) for each in shaped] for view in (0, 1)]
        )
    alike = cues.pop(THUMBNAIL)
    distinct = alike < np.median(alike[:, np.eye(places, dtype=bool)])
    of_latents = [name for name in agreement.CUES if name in cues and name not in CODE_MODELS]
    fits = []
    for names in (of_latents, *([*of_latents, cue] for cue in CODE_MODELS)):
        chosen = ({name: each[name] for name in names} for each in (cues, own))
        scene_cues = Scenes(*chosen, distinct, images)
        fit = fit_by_image(scene_cues)
        fits.append(fit)
        print(json.dumps(figures(fit, scene_cues)))
    fingerprint = codec.id.fingerprint.hex()
    digest = '' if head is None else head.digest
    made = agreement.AgreementModel(fingerprint, digest, color_map, color_offset, fits, spaces)
    print(made.write(args.to or codec.artifact.path))
    return 0


def figures(fit: agreement.Fit, scenes: Scenes) -> dict:
    """Return how well a fit separates the pairs that it was fitted to."""
    same, other = scenes.pairs()
    scores = {
        'alone': (fit.log_ratio(same), fit.log_ratio(other)),
        'of_images': scenes.of_images(fit),
    }
    return {
        'cues': list(fit.functions),
        'auroc': {name: round(auroc(*each), 4) for name, each in scores.items()},
        'tpr_at_fpr_1pct': {
            name: round(tpr_at_fpr(*each, 0.01), 4) for name, each in scores.items()
        },
        'pairs': [len(each) for each in scores['alone']],
        'images': len(set(scenes.images.tolist())),
        'thresholds': {rate: round(value, 2) for rate, value in fit.thresholds.items()},
        'image_thresholds': {rate: round(v, 2) for rate, v in fit.image_thresholds.items()},
        'auroc_of_cues': {name: round(auroc(same[name], other[name]), 4) for name in same},
    }


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
