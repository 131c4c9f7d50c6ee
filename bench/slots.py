# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well slot models find the objects of generated scenes, beside simple baselines.

python bench/slots.py                                     # all sets, one seed each
python bench/slots.py --sets tetrominoes --seeds 1 2 3 4  # mean over four trainings
python bench/slots.py --minutes 5                         # stop each training after 5 minutes

A training is a run of config/train/slots_SET.yaml with another seed. It is resumed from its last
checkpoint in out/train, so the bench can be stopped and started again. The scenes of the test have
a seed of their own, which neither training nor validation uses. Results in out/bench/slots.json.

Baselines, each with its best setting on the test scenes: connected areas whose neighboring pixels
differ little in color; K-means of color and position of the pixels; a fixed grid.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sage_perception.core.files import write_atomically
from sage_perception.models.networks.slots import SlotModel, segment
from sage_perception.slots.scores import (
    adjusted_rand_index,
    foreground_ari,
    mean_best_overlap,
)
from sage_perception.training.config import ConfigError, RunConfig, read_config
from sage_perception.training.data.images import to_model
from sage_perception.training.data.objects.pool import scenes
from sage_perception.training.data.objects.scene import Scene
from sage_perception.training.runs import load_run
from sage_perception.training.tasks.slots.data import CHANNELS, with_time
from sage_perception.training.tasks.slots.task import scenes_section
from sage_perception.training.train import train

SETS = ('tetrominoes', 'sprites', 'solids', 'moving_sprites')
TEST_SEED = 2
TEST_SCENES = 320
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


def score(test: Scene, segmenter: Segmenter) -> dict[str, float]:
    """Return the mean FG-ARI, ARI and mBO of a segmenter over the scenes of a test."""
    rows = []
    for video, labels in zip(test.image, test.labels, strict=True):
        found = segmenter(video)
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


def slot_segmenter(model: SlotModel) -> Segmenter:
    """Return the segmentation by a model, whose random starts are the same in each call."""

    def segments(video: np.ndarray) -> np.ndarray:
        torch.manual_seed(0)
        with torch.inference_mode():
            outputs = model.frames(torch.from_numpy(to_model(video, CHANNELS))[None])
        return torch.cat([segment(output.masks) for output in outputs]).numpy()

    return segments


def shortened(config: RunConfig, seed: int, minutes: float | None) -> RunConfig:
    """Return a configuration with another seed, with fewer steps if `minutes` are given.

    The steps are those that fit, from the time of two epochs of a trial run.
    """
    training = replace(config.training, seed=seed)
    if minutes is None:
        return replace(config, training=training)
    trial = replace(training, steps=20, epoch=10, warmup=10)
    started = time.process_time()
    train(replace(config, training=trial), Path(f'out/train/{config.name}_trial'), progress=False)
    per_step = (time.process_time() - started) / 20
    epochs = max(int(minutes * 60 / per_step) // training.epoch, 1)
    return replace(config, training=replace(training, steps=epochs * training.epoch))


def measure(name: str, seeds: list[int], minutes: float | None) -> dict:
    """Return the scores of a set: of the model for each seed, and of the baselines."""
    config = read_config(Path(f'config/train/slots_{name}.yaml'))
    section = scenes_section(config)
    test = with_time(scenes(section.set, TEST_SCENES, TEST_SEED))
    rows: dict[str, list] = {'fg_ari': [], 'ari': [], 'mbo': [], 'core_minutes': []}
    for seed in seeds:
        run_config = shortened(config, seed, minutes)
        run = Path(f'out/train/{config.name}_seed{seed}')
        train(run_config, run)
        model = load_run(run_config, run, SlotModel).eval()
        for key, value in score(test, slot_segmenter(model)).items():
            rows[key].append(value)
        seconds = json.loads((run / 'metrics.json').read_text())['seconds']
        rows['core_minutes'].append(round(seconds * torch.get_num_threads() / 60, 1))
        print(f'{name}, seed {seed}: FG-ARI {rows["fg_ari"][-1]}')
    count = config.model.slots
    clusters = {f'weight {w:g}': pixel_clusters(count, w) for w in POSITION_WEIGHTS}
    return {
        **rows,
        'seeds': seeds,
        'parameters': sum(p.numel() for p in SlotModel(config.model).parameters()),
        'baselines': {
            'color_areas': best(test, {f'tolerance {t}': color_areas(t) for t in TOLERANCES}),
            'kmeans': best(test, clusters),
            'grid': score(test, grid(count)),
        },
    }


def main() -> int:
    """Train and measure; write and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--sets', nargs='+', choices=SETS, default=list(SETS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[1])
    parser.add_argument('--minutes', type=float, help='CPU minutes of each training')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (%(default)s)')
    parser.add_argument('--out', type=Path, default=Path('out/bench/slots.json'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        sets = {name: measure(name, args.seeds, args.minutes) for name in args.sets}
    except ConfigError as error:
        sys.exit(f'error: {error}')
    result = {'sets': sets}
    write_atomically(args.out, json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
