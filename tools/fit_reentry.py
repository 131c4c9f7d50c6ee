#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the comparison of crops of one camera at different times, and write `reentry.json`.

The objects are those of generated scenes: rendered ones that tumble, and textured shapes that move
over a background (seeds that no benchmark uses). The pairs are of different frames: of one object,
and of two objects of a few scenes. One fit has the cues of the latents, the others also the
identity codes that encoders send, of one of two models. Run it again after the identity head or a
code model has changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.core.discrimination import auroc
from sage_perception.core.latent import Roi
from sage_perception.models import load_codes, load_crop_codec
from sage_perception.training.data.objects.tumbling import FRAMES, tumbling
from sage_perception.training.latents import encode_crops
from sage_perception.training.trust.agreement import CODE_MODELS, fit_agreement, fit_colors
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.matching import center
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.synthetic import SyntheticWorld

SEED, CROP, PARTS, CHUNK = 1000, 64, 16, 64
TUMBLING, WORLDS = 96, 32
TOGETHER = {'tumbling': 3, 'worlds': 4}
"""Scenes of which the objects are told apart."""
MIN_PIXELS, MIN_VISIBLE, MARGIN = 60, 0.5, 1.2
PERIOD_S = 20.0


class Seen(NamedTuple):
    """A crop, uint8 `[CROP, CROP, 3]` RGB, of an object in a frame of a group of scenes."""

    crop: np.ndarray
    group: str
    thing: str
    frame: int


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--tumbling', type=int, default=TUMBLING, help='scenes of tumbling things')
    parser.add_argument('--worlds', type=int, default=WORLDS, help='worlds of textured shapes')
    parser.add_argument('--to', type=Path, help='folder (default: that of the model)')
    args = parser.parse_args(argv)
    codec = load_crop_codec(args.model)
    seen = [*tumbling_objects(args.tumbling), *moving_shapes(args.worlds)]
    crops = np.stack([each.crop for each in seen])
    latents = encode_crops(codec, crops)
    color_map, color_offset = fit_colors(latents, crops, PARTS)
    color_map = np.round(color_map, 4)  # the file has 49,152 of these numbers
    nothing = [agreement.Fit({agreement.LATENT: agreement.CueFunction((0, 1), (0, 1))}, {0.5: 0})]
    colors = agreement.AgreementModel('', '', color_map, color_offset, nothing)
    weighted = center(latents, codec.latent_mean.ravel(), similarity_weights(codec))
    features = {agreement.LATENT: weighted, agreement.PALETTE: colors.palette(latents)}
    head = codec.identity_head
    if head is not None:
        features[agreement.HEAD] = head(latents)
    spaces = {}
    for cue, name in CODE_MODELS.items():
        model = load_codes(name)
        spaces[cue] = model.identity_space.hex()
        parts = range(0, len(crops), CHUNK)
        features[cue] = np.concatenate([model.identity(crops[i : i + CHUNK]) for i in parts])
    first, second, same = pairs(seen)
    cues = {name: cosines(values, first, second) for name, values in features.items()}
    of_latents = [name for name in agreement.CUES if name in cues and name not in CODE_MODELS]
    fits = []
    for names in (of_latents, *([*of_latents, cue] for cue in CODE_MODELS)):
        chosen = {name: cues[name] for name in names}
        fit = fit_agreement(
            {name: values[same] for name, values in chosen.items()},
            {name: values[~same] for name, values in chosen.items()},
        )
        fits.append(fit)
        print(json.dumps(figures(fit, chosen, same)))
    digest = '' if head is None else head.digest
    fingerprint = codec.id.fingerprint.hex()
    made = agreement.AgreementModel(fingerprint, digest, color_map, color_offset, fits, spaces)
    print(made.write(args.to or codec.artifact.path, agreement.REENTRY_FILE))
    return 0


def tumbling_objects(scenes: int) -> Iterator[Seen]:
    """Yield the visible objects of scenes of tumbling objects."""
    for scene in range(scenes):
        images, labels = tumbling(np.random.default_rng((SEED, scene)))
        for frame, (image, label) in enumerate(zip(images, labels, strict=True)):
            for number in np.unique(label[label > 0]):
                mask = label == number
                if np.count_nonzero(mask) < MIN_PIXELS:
                    continue
                box = Roi(*cv2.boundingRect(mask.astype(np.uint8)))
                group = f'tumbling {scene // TOGETHER["tumbling"]}'
                yield Seen(cut(image[..., ::-1], box), group, f'{scene}/{number}', frame)


def moving_shapes(worlds: int) -> Iterator[Seen]:
    """Yield the visible objects of synthetic worlds at random times."""
    for number in range(worlds):
        world = SyntheticWorld(seed=SEED + number, period_s=PERIOD_S)
        times = np.random.default_rng((SEED, number)).uniform(0, PERIOD_S, FRAMES)
        for frame, at_s in enumerate(times.tolist()):
            image = world.render(at_s, frame)
            for thing in world.truth(at_s):
                if thing.visible >= MIN_VISIBLE:
                    group = f'worlds {number // TOGETHER["worlds"]}'
                    yield Seen(cut(image, thing.roi), group, f'{number}/{thing.id}', frame)


def cut(image: np.ndarray, box: Roi) -> np.ndarray:
    """Return the square around a region of a BGR image."""
    height, width = image.shape[:2]
    side = min(MARGIN * max(box.width, box.height), height, width)
    roi = square_roi(box.center, side, width, height)
    return crop_image(np.ascontiguousarray(image), roi, CROP, 'rgb')


def pairs(seen: list[Seen]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of crops of a group in different frames, and whether they show one object."""
    groups, things, frames = (
        np.array([each[i] for each in seen]) for i in map(Seen._fields.index, Seen._fields[1:])
    )
    first, second = np.nonzero(
        (groups[:, None] == groups[None]) & (frames[:, None] < frames[None])
    )
    return first, second, things[first] == things[second]


def cosines(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosines of pairs of rows."""
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return (unit[first] * unit[second]).sum(1)


def figures(fit: agreement.Fit, cues: dict[str, np.ndarray], same: np.ndarray) -> dict:
    """Return how well a fit separates the pairs that it was fitted to."""
    scores = {'fit': fit.log_ratio(cues), **cues}
    return {
        'cues': list(cues),
        'auroc': {name: round(auroc(s[same], s[~same]), 4) for name, s in scores.items()},
        'pairs': [int(np.count_nonzero(same)), int(np.count_nonzero(~same))],
        'thresholds': {rate: round(value, 2) for rate, value in fit.thresholds.items()},
    }


if __name__ == '__main__':
    sys.exit(main())
