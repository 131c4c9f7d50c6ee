# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well live latents of another encoder are told from those of honest cameras.

Part of `bench/security_scenarios.py` (`poisoned.live`). Honest cameras see videos, synthetic
scenes, and monotonous scenes: one crop or a gray surface with sensor noise. Their latents are
rotated, permuted, scaled, replaced by probe latents, or replayed from another scene. Half of the
scenes fit the limit of the contrast, the other half test it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from sage_perception.models import Codec, load_crop_codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.live import (
    MIN_CONTRAST,
    MIN_DIVERSITY,
    MIN_LATENTS,
    LiveStatistics,
)
from sage_perception.vision.attention import Attention
from sage_perception.vision.sources import open_source
from sage_perception.vision.sources.base import EndOfStream, SourceLost

CROPS, FRAMES, SIDE = 512, 1200, 640
TRIALS = 20
"""Attacks of each kind on each scene."""
MONOTONOUS = ('crop', 'dark', 'gray', 'white')


def scenes(footage: Path, codec: Codec) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the latents `[N, D]` of scenes with at least `MIN_LATENTS` crops."""
    encoder = CropEncoder(codec, measure_every=10**6)
    uris = {
        path.stem: f'file://{path}?pace=fast&loop=false'
        for path in sorted(footage.rglob('*'))
        if path.suffix.lower() in ('.avi', '.mp4')
    }
    uris |= {
        f'synthetic {seed}': f'synthetic://?size=640x480&fps=15&seed={seed}&pace=fast'
        for seed in range(6)
    }
    images: list[np.ndarray] = []
    for name, uri in uris.items():
        images = crops_of(uri)
        if len(images) >= MIN_LATENTS:
            yield name, codec.encode(np.stack([encoder.to_input(image) for image in images]))
    rng = np.random.default_rng(0)
    for name in MONOTONOUS:
        level = {'dark': 10, 'gray': 128, 'white': 250}.get(name)
        base = np.full((64, 64, 3), level) if level is not None else images[0].astype(float)
        noisy = (base + rng.normal(0, 3, (300, *base.shape))).clip(0, 255).astype(np.uint8)
        yield name, codec.encode(np.stack([encoder.to_input(image) for image in noisy]))


def crops_of(uri: str) -> list[np.ndarray]:
    """Return up to `CROPS` crops of a source, of every second frame."""
    attention, found = Attention(), []
    with open_source(uri) as source:
        for number in range(FRAMES):
            try:
                frame = source.read(5.0)
            except (EndOfStream, SourceLost):
                break
            if frame is None:
                break
            image = frame.image
            scale = SIDE / max(image.shape[:2])
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            crops = attention.attend(image, number / 15)
            if number % 2:
                found += [crop.image for crop in crops]
            if len(found) >= CROPS:
                break
    return found


def judged(probes: np.ndarray, latents: np.ndarray) -> LiveStatistics:
    """Return the statistics of latents that arrive four at a time."""
    live = LiveStatistics(probes)
    for start in range(0, len(latents), 4):
        live.add(latents[start : start + 4])
    return live


def attacks(
    mean: np.ndarray, probes: np.ndarray, other: np.ndarray
) -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """Return what an attacker sends instead of the latents of a scene, by kind."""
    dim = len(mean)

    def rotated(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (z - mean) @ np.linalg.qr(rng.standard_normal((dim, dim)))[0] + mean

    return {
        'rotated': rotated,
        'permuted': lambda z, rng: (z - mean)[:, rng.permutation(dim)] + mean,
        'scaled': lambda z, rng: (z - mean) * rng.uniform(3, 6) + mean,
        'probes': lambda z, rng: probes[rng.permutation(len(probes))[: len(z)]],
        'replayed': lambda z, rng: other,
    }


def live_statistics(footage: Path, model: str = 'tinyvae', seed: int = 0) -> dict:
    """Return the shares of honest cameras and of attacks that are accepted, of the test scenes.

    `min_contrast_fitted` is half of the smallest contrast of the scenes for fitting, those with
    enough diversity. `roc` are the shares of honest and of rotated and permuted latents of the
    test scenes that are accepted with other limits, among those that are diverse enough.
    """
    codec, rng = load_crop_codec(model), np.random.default_rng(seed)
    probes = probe_set.probe_latents(codec)
    mean = probes.mean(0)
    found = list(scenes(footage, codec))
    honest = {name: judged(probes, z) for name, z in found}
    fitting = [name for number, (name, _) in enumerate(found) if number % 2 == 0]
    contrasts = [honest[n].contrast for n in fitting if honest[n].diversity >= MIN_DIVERSITY]
    tested = [(name, z) for name, z in found if name not in fitting]
    accepted: dict[str, list[bool]] = {}
    scores: list[float] = []
    for number, (name, z) in enumerate(tested):
        other = tested[number - 1][1]
        for kind, change in attacks(mean, probes, other).items():
            for _ in range(TRIALS if kind not in ('probes', 'replayed') else 1):
                live = judged(probes, change(z, rng))
                group = 'monotonous ' if name in MONOTONOUS else ''
                accepted.setdefault(group + kind, []).append(live.consistent)
                if kind in ('rotated', 'permuted') and live.diversity >= MIN_DIVERSITY:
                    scores.append(live.contrast)
    right = [honest[n].contrast for n, _ in tested if honest[n].diversity >= MIN_DIVERSITY]
    limits = (0.2, 0.4, MIN_CONTRAST, 0.8, 1.0)
    return {
        'scenes': {'fitting': len(fitting), 'tested': len(tested)},
        'min_contrast_fitted': min(contrasts) / 2 if contrasts else None,
        'min_contrast': MIN_CONTRAST,
        'honest_accepted': float(np.mean([honest[name].consistent for name, _ in tested])),
        'accepted': {kind: float(np.mean(each)) for kind, each in sorted(accepted.items())},
        'roc': {
            str(limit): {
                'honest': float(np.mean(np.array(right) >= limit)),
                'attack': float(np.mean(np.array(scores) >= limit)),
            }
            for limit in limits
        },
        'honest': {
            name: {
                'contrast': round(live.contrast, 2),
                'diversity': round(live.diversity, 1),
                'scale': round(live.scale, 2),
                'copied': round(live.copied, 2),
            }
            for name, live in honest.items()
        },
    }
