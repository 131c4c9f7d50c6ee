# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Localization of peaks: accumulated, diffused and upscaled maps against raw maps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from attention_scenes import masked_clips

from sage_perception.vision import Attention
from sage_perception.zspace import ZDiffuser, ZSpaceVolume, find_peaks

HEIGHT, WIDTH = 60, 80
ALPHAS = (0.1, 0.2, 0.35, 0.6, 1.0)
ITERATIONS = (0, 1, 3, 6)
RATE, FACTOR = 0.6, 2
CHOICE_SEEDS = (100, 101, 102)
FRAMES, SETTLE = 60, 10


class Frame(NamedTuple):
    """A map `[H, W]` and the true place of the target (x, y), cells; None without a target."""

    saliency: np.ndarray
    target: tuple[float, float] | None


class Settings(NamedTuple):
    """Weight of the newest map, and steps of the diffusion."""

    alpha: float
    iterations: int


RAW = Settings(1.0, 0)
CHOICES = [Settings(*each) for each in itertools.product(ALPHAS, ITERATIONS)]


def synthetic(kind: str, seed: int) -> Iterator[Frame]:
    """Yield noisy maps with one target that moves by 0.1 cells per frame, or flickers."""
    random = np.random.default_rng(seed)
    x, y = random.uniform(12, WIDTH - 12), random.uniform(12, HEIGHT - 12)
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(FRAMES):
        amplitude = 1.0
        if kind == 'slow':
            x, y = x + 0.1 * np.cos(angle), y + 0.1 * np.sin(angle)
        else:
            amplitude = float(random.random() < 0.4)
        blob = amplitude * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / 1.5**2)
        yield Frame(blob + random.normal(0, 0.35, blob.shape), (x, y))


def recorded(folder: Path) -> dict[str, list[Frame]]:
    """Return the maps of attention for clips with masks, and the centers of the masks."""
    found = {}
    for name, clip in masked_clips(folder).items():
        attention, frames = Attention(), []
        for sample in clip():
            attention.attend(sample.image, sample.stamp_s)
            saliency = cv2.resize(
                attention.saliency_map(), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA
            )
            target = None
            if sample.objects:
                x, y = sample.objects[1].center
                target = (x * WIDTH / 640 - 0.5, y * HEIGHT / 480 - 0.5)
            frames.append(Frame(saliency, target))
        found[name] = frames
    return found


def errors(frames: Iterable[Frame], settings: Settings, settle: int = SETTLE) -> list[float]:
    """Return the distance of the highest peak from the target in each frame, cells.

    Without a peak, the center of the map counts. The first `settle` frames are left out.
    """
    volume: ZSpaceVolume | None = None
    diffuser, found = ZDiffuser(settings.iterations, RATE), []
    for index, frame in enumerate(frames):
        present = ZSpaceVolume(frame.saliency[None])
        if volume is None:
            volume = present
        else:
            volume.accumulate(present, settings.alpha)
        if frame.target is None or index < settle:
            continue
        factor, shown = 1, volume
        if settings != RAW:
            factor, shown = FACTOR, diffuser.diffuse(volume).upscale(FACTOR)
        x, y = WIDTH / 2, HEIGHT / 2
        for peak in find_peaks(shown.values[0], 1):
            x = peak.x * (WIDTH - 1) / (factor * WIDTH - 1)
            y = peak.y * (HEIGHT - 1) / (factor * HEIGHT - 1)
        found.append(float(np.hypot(x - frame.target[0], y - frame.target[1])))
    return found


def _best(groups: list[list[Frame]], settle: int = SETTLE) -> Settings:
    def mean(settings: Settings) -> float:
        return float(np.mean([e for frames in groups for e in errors(frames, settings, settle)]))

    return min(CHOICES, key=mean)


def _summary(groups: list[list[Frame]], chosen: Settings, settle: int = SETTLE) -> dict:
    def means(settings: Settings) -> list[float]:
        return [float(np.mean(errors(frames, settings, settle))) for frames in groups]

    ours, raw = means(chosen), means(RAW)
    diffused = means(Settings(1.0, max(chosen.iterations, 1)))
    return {
        'value': round(float(np.mean(ours)), 3),
        'baselines': {
            'raw': round(float(np.mean(raw)), 3),
            'without_accumulation': round(float(np.mean(diffused)), 3),
        },
        'wins_over_raw': f'{sum(a < b for a, b in zip(ours, raw, strict=True))}/{len(ours)}',
        'alpha': chosen.alpha,
        'iterations': chosen.iterations,
    }


def measure(seeds: list[int], shared: Path | None) -> dict:
    """Return the errors, in cells, of synthetic targets and, with `shared`, of clips with masks.

    Settings are chosen on other seeds, and on the other half of the clips.
    """
    result: dict = {}
    for kind in ('slow', 'flicker'):
        chosen = _best([list(synthetic(kind, seed)) for seed in CHOICE_SEEDS])
        summary = _summary([list(synthetic(kind, seed)) for seed in seeds], chosen)
        result[kind] = {**summary, 'seeds': seeds}
    if shared is not None:
        clips = recorded(shared / 'video_masks_davis')
        clips |= recorded(shared / 'video_masks_pumavos_chair')
        names = sorted(clips)
        halves = [[clips[name] for name in names[i::2]] for i in (0, 1)]
        parts = [_summary(halves[i], _best(halves[1 - i], 2), 2) for i in (0, 1)]
        result['recorded'] = {
            'value': round(float(np.mean([part['value'] for part in parts])), 3),
            'baselines': {
                name: round(float(np.mean([part['baselines'][name] for part in parts])), 3)
                for name in parts[0]['baselines']
            },
            'seeds': names,
            'halves': parts,
        }
    return result
