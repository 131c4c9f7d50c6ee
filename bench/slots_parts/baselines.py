# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Segmentations without a network, and the scores of any segmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sage_perception.models.mask_refinement import MaskRefinement
from sage_perception.models.networks.slots.colors import Colors
from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.start import ImageStart
from sage_perception.slots.scores import (
    adjusted_rand_index,
    foreground_ari,
    mean_best_overlap,
)
from sage_perception.training.data.objects.scene import Scene

TOLERANCES = (8, 16, 24, 32, 48, 64, 96, 128, 160)
POSITION_WEIGHTS = (0.25, 0.5, 1.0, 2.0)

Segmenter = Callable[[np.ndarray], np.ndarray]
"""Maps a video, uint8 `[T, S, S, 3]`, to the segment of each pixel, int `[T, S, S]`."""


def color_areas(tolerance: int) -> Segmenter:
    """Return the connected areas whose neighbors differ by at most `tolerance` in each channel."""

    def areas(video: np.ndarray) -> np.ndarray:
        image = video.astype(np.int16)
        index = np.arange(image[..., 0].size).reshape(image.shape[:-1])
        links = []
        for axis in range(3):
            low, high = ([slice(None)] * 3 for _ in range(2))
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            near = np.abs(image[tuple(high)] - image[tuple(low)]).max(-1) <= tolerance
            links.append((index[tuple(low)][near], index[tuple(high)][near]))
        first, second = (np.concatenate(ends) for ends in zip(*links, strict=True))
        graph = coo_matrix((np.ones(len(first)), (first, second)), (index.size, index.size))
        return connected_components(graph, directed=False)[1].reshape(index.shape)

    return areas


def pixel_clusters(count: int, weight: float) -> Segmenter:
    """Return K-means clusters of the color of pixels and `weight` times their position."""

    def clusters(video: np.ndarray) -> np.ndarray:
        side = video.shape[1]
        line = np.linspace(0, weight, side)
        y, x = np.broadcast_arrays(line[None, :, None], line[None, None, :])
        places = np.stack((x, y), -1)
        features = np.concatenate(
            (video / 255, np.broadcast_to(places, (*video.shape[:3], 2))), -1
        )
        found = kmeans2(features.reshape(-1, 5), count, minit='++', seed=0)[1]
        return found.reshape(video.shape[:3])

    return clusters


def grid(count: int) -> Segmenter:
    """Return the cells of a grid of about `count` cells."""
    rows = max(round(count**0.5), 1)
    columns = -(-count // rows)

    def cells(video: np.ndarray) -> np.ndarray:
        frames, side = video.shape[:2]
        line = np.arange(side)
        one = (line * rows // side)[:, None] * columns + (line * columns // side)[None, :]
        return np.broadcast_to(one, (frames, side, side))

    return cells


def mixture(config: SlotsConfig) -> Segmenter:
    """Return the slots of a model without its network, from the start of `ImageStart`.

    The cells of a token each go to the nearest of the tokens that the start chooses, and the masks
    are refined as those of the model.
    """
    config = replace(config, init='image')
    start, colors = ImageStart(config), Colors(config)
    refinement = MaskRefinement.of(asdict(config))

    def segments(video: np.ndarray) -> np.ndarray:
        found = []
        for image in video.transpose(0, 3, 1, 2).astype(np.float32) / 255:
            mapped = colors(torch.from_numpy(image)[None])
            masks = start.nearest(mapped)[0].numpy()
            found.append(refinement.refine(masks, image).argmax(0))
        return np.stack(found)

    return segments


def score(test: Scene, segmenter: Segmenter) -> dict[str, float]:
    """Return the mean FG-ARI, ARI and mBO of a segmenter over the scenes of a test."""
    return mean_scores(test.labels, map(segmenter, test.image))


def mean_scores(truth: np.ndarray, segments: Iterable[np.ndarray]) -> dict[str, float]:
    """Return the mean FG-ARI, ARI and mBO of segments of scenes against their labels."""
    rows = []
    for labels, found in zip(truth, segments, strict=True):
        rows.append(
            (
                foreground_ari(labels, found),
                adjusted_rand_index(labels, found),
                mean_best_overlap(labels, found),
            )
        )
    columns = zip(*rows, strict=True)
    return {
        name: round(float(np.mean([value for value in column if value is not None])), 4)
        for name, column in zip(('fg_ari', 'ari', 'mbo'), columns, strict=True)
    }


def best(test: Scene, segmenters: dict[str, Segmenter]) -> dict[str, float | str]:
    """Return the scores of the segmenter with the highest FG-ARI, and its name."""
    scored = {name: score(test, segmenter) for name, segmenter in segmenters.items()}
    name = max(scored, key=lambda each: scored[each]['fg_ari'])
    return {**scored[name], 'setting': name}


def baselines(test: Scene, config: SlotsConfig) -> dict:
    """Return the scores of the baselines with about as many segments as a model has slots."""
    count = config.slots
    clusters = {f'weight {w:g}': pixel_clusters(count, w) for w in POSITION_WEIGHTS}
    return {
        'color_areas': best(test, {f'tolerance {t}': color_areas(t) for t in TOLERANCES}),
        'kmeans': best(test, clusters),
        'grid': score(test, grid(count)),
        **({'mixture': score(test, mixture(config))} if config.mask_rounds else {}),
    }
