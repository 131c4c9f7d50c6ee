# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots on real video with masks: the best slot of the moving object, beside its motion.

A folder of clips has `JPEGImages/CLIP/*.jpg` and `Annotations/CLIP/*.png`, as DAVIS has, or the
files of one clip without the folder CLIP. Labels above 0 are one object here. Rules were chosen on
the first half of the clips, by name; the other half is reported separately as `unseen`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.models.registry import load_slot_encoder
from sage_perception.models.slot_encoder import SlotEncoder, Slots
from sage_perception.slots.segmentation import segment
from sage_perception.slots.video import scaled_input
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.ego_motion import EgoMotion
from sage_perception.vision.scene_motion import SceneMotionDetector

WIDTH = 320
SKIPPED = 5
"""Frames before the first score, in which evidence of motion accumulates."""
POWERS = (0.0, 0.25, 0.4)
"""Weight of the slots in the combination; 0 is the motion alone."""
LEVELS = (0.4, 0.5, 0.6, 0.7)
"""Combined evidence above which a pixel belongs to the object, relative to the largest."""


class Row(NamedTuple):
    """IoU with the object in one frame: best slot, best cell of a grid, `[powers, levels]`."""

    slot: float
    grid: float
    combined: np.ndarray


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the IoU of two masks, bool of the same shape."""
    return float((found & truth).sum() / max((found | truth).sum(), 1))


def combine(masks: np.ndarray, evidence: np.ndarray, power: float) -> np.ndarray:
    """Return the evidence of motion that slots agree on, float `[h, w]` in [0, 1].

    A slot of the masks `[K, h, w]` moves as its pixels do on average, squared. The evidence of a
    pixel is that of its slots to the `power`, times its own, `[h, w]`, to 1 − `power`.
    """
    residual = -2 * np.log(1 - evidence.clip(0, 0.9999) + 1e-4)  # before it was saturated
    shares = (masks * residual).sum((1, 2)) / (masks.sum((1, 2)) + 1e-6)
    by_slot = np.einsum('k,kyx->yx', (shares / max(float(shares.max()), 1e-6)) ** 2, masks)
    smooth = cv2.GaussianBlur(residual, (0, 0), 3).clip(0)
    return by_slot**power * (smooth / max(float(smooth.max()), 1e-6)) ** (1 - power)


def clip_rows(model: SlotEncoder, clip: Path, labels: Path, count: int) -> tuple[list[Row], str]:
    """Return the scores of up to `count` frames of a clip, and the state of its camera."""
    settings = AttentionConfig()
    detector = SceneMotionDetector(settings.threshold, settings.background_time_s, EgoMotion())
    rows: list[Row] = []
    states = []
    previous: Slots | None = None
    for number, path in enumerate(sorted(clip.glob('*.jpg'))[: count + SKIPPED]):
        frame = cv2.imread(str(path))
        height = round(WIDTH * frame.shape[0] / frame.shape[1])
        image = cv2.resize(frame, (WIDTH, height), interpolation=cv2.INTER_AREA)
        detector.update(image, 1 / 24)
        x = scaled_input(frame, model.input_size, model.input_channels)[None]
        previous = model.track(x, previous.slots) if previous else model.encode(x)
        masks = model.decode(previous).masks[0]
        masks = np.stack([cv2.resize(mask, (WIDTH, height)) for mask in masks])
        truth = cv2.imread(str(labels / f'{path.stem}.png'), cv2.IMREAD_UNCHANGED)
        if number < SKIPPED or truth is None:
            continue
        truth = truth if truth.ndim == 2 else truth.max(2)
        truth = cv2.resize(truth, (WIDTH, height), interpolation=cv2.INTER_NEAREST) > 0
        if not truth.any():
            continue
        states.append(detector.state)
        segments = segment(masks)
        row, column = np.mgrid[0:height, 0:WIDTH]
        cells = row * 3 // height * 3 + column * 3 // WIDTH
        evidence = detector.evidence().clip(0, 1)
        rows.append(
            Row(
                max(overlap(segments == slot, truth) for slot in range(len(masks))),
                max(overlap(cells == cell, truth) for cell in range(9)),
                np.array(
                    [
                        [overlap(agreed > level, truth) for level in LEVELS]
                        for agreed in (combine(masks, evidence, power) for power in POWERS)
                    ]
                ),
            )
        )
    return rows, max(set(states), key=states.count) if states else 'none'


def summary(clips: dict[str, tuple[list[Row], str]], names: list[str], chosen: tuple) -> dict:
    """Return the means over clips, each clip with the same weight, by the chosen settings."""
    motion, power, level = chosen
    if not names:
        return {}
    table = [
        (
            np.mean([row.slot for row in clips[name][0]]),
            np.mean([row.grid for row in clips[name][0]]),
            np.mean([row.combined[0, motion] for row in clips[name][0]]),
            np.mean([row.combined[power, level] for row in clips[name][0]]),
        )
        for name in names
    ]
    columns = np.mean(table, 0).round(4).tolist()
    return dict(zip(('mbo', 'grid', 'motion', 'combined'), columns, strict=True)) | {
        'clips': len(names)
    }


def measure(model_name: str, folder: Path, count: int) -> dict:
    """Return mBO of the best slot, of motion and of both, of moving and of standing cameras."""
    model = load_slot_encoder(model_name)
    clips = {}
    started = time.process_time()
    images = folder / 'JPEGImages'
    for clip in sorted(path for path in images.iterdir() if path.is_dir()) or [images]:
        labels = folder / 'Annotations' / clip.relative_to(images)
        scored = clip_rows(model, clip, labels, count)
        if scored[0]:
            clips[clip.name] = scored
    names = list(clips)
    tuning, unseen = names[: (len(names) + 1) // 2], names[(len(names) + 1) // 2 :]
    means = np.mean([np.mean([row.combined for row in clips[name][0]], 0) for name in tuning], 0)
    power, level = np.unravel_index(int(means[1:].argmax()), means[1:].shape)
    chosen = (int(means[0].argmax()), int(power) + 1, int(level))
    moving = [name for name in names if clips[name][1] == 'moving']
    return {
        **summary(clips, names, chosen),
        'unseen': summary(clips, unseen, chosen),
        'moving_camera': summary(clips, moving, chosen),
        'other_camera': summary(clips, [n for n in names if n not in moving], chosen),
        'by_clip': {name: summary(clips, [name], chosen) for name in names},
        'settings': {
            'motion_level': LEVELS[chosen[0]],
            'power': POWERS[chosen[1]],
            'level': LEVELS[chosen[2]],
        },
        'seconds': round(time.process_time() - started, 1),
    }
