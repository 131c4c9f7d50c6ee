# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recall and false regions of attention with the cue volume, on clips with masks.

`cue_volume` replaces the regions of attention by as many squares around the highest peaks of the
projected cues. The other variants change only the maps of still saliency in attention: they are
diffused, or accumulated over time and diffused. bench/attention.py describes the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from attention_scenes import HEIGHT, WIDTH, Finder, Scene, Score, evaluate, masked_clips, square_of

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.pipeline.cue_volume import CueProjector
from sage_perception.vision import Attention
from sage_perception.vision.saliency import signature_saliency
from sage_perception.zspace import ZDiffuser, ZSpaceVolume, find_peaks

DIFFUSER = ZDiffuser(3, 0.6, across_slices=False)
ALPHA = 0.35
"""Weight of the newest maps in the accumulated ones."""
MARGIN = 1.2
"""Side of a region relative to the box of its peak."""


def attention() -> tuple[Finder, Finder]:
    """Return attention, and its regions of still saliency alone."""
    chooser, still = Attention(), []

    def find(image: np.ndarray, stamp_s: float) -> list[Roi]:
        crops = chooser.attend(image, stamp_s)
        still[:] = [crop.roi for crop in crops if crop.source == CropSource.SALIENCY]
        return [crop.roi for crop in crops]

    return find, lambda image, stamp_s: list(still)


def cue_volume() -> Finder:
    """Return the peaks of the projected cues, as many as attention has regions."""
    chooser, projector = Attention(), CueProjector()

    def find(image: np.ndarray, stamp_s: float) -> list[Roi]:
        count = len(chooser.attend(image, stamp_s))
        saliency = projector.update(image, stamp_s).projection
        rows, columns = saliency.shape
        found = []
        for peak in find_peaks(saliency, count) if count else []:
            left, top, right, bottom = peak.box
            x, y = left * WIDTH // columns, top * HEIGHT // rows
            width, height = (right - left) * WIDTH // columns, (bottom - top) * HEIGHT // rows
            found.append(square_of(Roi(x, y, width, height), MARGIN))
        return found

    return find


@contextmanager
def filtered_saliency(alpha: float) -> Iterator[None]:
    """Replace the maps of still saliency in attention by accumulated and diffused ones."""
    volume: ZSpaceVolume | None = None

    def saliency(image: np.ndarray) -> np.ndarray:
        nonlocal volume
        present = ZSpaceVolume(signature_saliency(image))
        if volume is None or volume.shape != present.shape:
            volume = present
        else:
            volume.accumulate(present, alpha)
        return DIFFUSER.diffuse(volume).values

    with mock.patch('sage_perception.vision.attention.signature_saliency', saliency):
        yield


def _score(scene: Scene, make: Callable[[], tuple[Finder, Finder]]) -> tuple[Score, Score]:
    find, find_still = make()
    score, still = Score(), Score()
    for sample in scene():
        score.add(sample, find(sample.image, sample.stamp_s))
        still.add(sample, find_still(sample.image, sample.stamp_s))
    return score, still


def measure(shared: Path) -> dict:
    """Return recall and false regions per frame of all regions, and of the still ones."""
    clips = masked_clips(shared / 'video_masks_davis')
    clips |= masked_clips(shared / 'video_masks_pumavos_chair')
    scores: dict[str, list[Score]] = {}
    for scene in clips.values():
        scores.setdefault('cue_volume', []).append(evaluate(scene, cue_volume()))
        for name, alpha in (('today', None), ('diffused', 1.0), ('accumulated', ALPHA)):
            if alpha is None:
                pair = _score(scene, attention)
            else:
                with filtered_saliency(alpha):
                    pair = _score(scene, attention)
            for part, score in zip((name, f'{name}, still regions'), pair, strict=True):
                scores.setdefault(part, []).append(score)
    found = {name: sum(each, Score()).summary() for name, each in scores.items()}
    return {'value': found.pop('cue_volume'), 'baselines': found, 'seeds': sorted(clips)}
