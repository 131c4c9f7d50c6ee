# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trainings on generated scenes and their scores: sets, a plain reference, and the losses."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from sage_perception.core.files import write_atomically
from sage_perception.models.mask_refinement import MaskRefinement
from sage_perception.models.networks.slots import SlotModel
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.images import to_model
from sage_perception.training.data.objects.pool import scenes
from sage_perception.training.data.objects.scene import Scene
from sage_perception.training.runs import CHECKPOINT, CONFIG, METRICS, load_run
from sage_perception.training.tasks.slots.data import CHANNELS, with_time
from sage_perception.training.tasks.slots.task import scenes_section
from sage_perception.training.train import train
from slots_parts.baselines import baselines, mean_scores

SETS = ('tetrominoes', 'sprites', 'solids', 'moving_sprites')
TEST_SEED = 2
TEST_SCENES = 320
BATCH = 32
"""Scenes that are divided together."""
TRIALS = (20, 80)
"""Steps of two trainings that show the cost of a step."""
EPOCHS = 4
"""Least number of validations in a short run."""
INFERENCE = (
    'eval_iterations',
    'starts',
    'mask_rounds',
    'mask_noise',
    'slot_penalty',
    'slot_tolerance',
)
"""Fields of `SlotsConfig` that matter after training only."""
COST = 'cpu_seconds.json'
"""File in the folder of a run: the CPU seconds of its training."""
LOSSES = {'orthogonality': 1e-2, 'mask_entropy': 1e-3, 'coverage': 1e-2, 'appearance': 1e-2}
"""Weights of the auxiliary losses in the table."""
LOSSES_SET = 'tetrominoes'


class Length(NamedTuple):
    """How long a training runs: CPU minutes, or steps; the steps of its configuration if neither.

    Steps take precedence.
    """

    minutes: float | None = None
    steps: int | None = None


LOSSES_LENGTH = Length(minutes=2.0)
"""How long each training of the table of losses runs by default."""


def slot_segments(model: SlotModel, images: np.ndarray) -> np.ndarray:
    """Return the slot of each pixel of videos, uint8 `[N, T, S, S, 3]`, as int64 `[N, T, S, S]`.

    Random starts are the same in each call, and differ between scenes.
    """
    torch.manual_seed(0)
    refinement = MaskRefinement.of(asdict(model.config))
    found = []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            x = torch.from_numpy(to_model(images[first : first + BATCH], CHANNELS))
            for output, frames in zip(model.frames(x), x.unbind(1), strict=True):
                pairs = zip(output.masks.numpy(), frames.numpy(), strict=True)
                masks = np.stack([refinement.refine(*pair) for pair in pairs])
                found.append(masks.argmax(1))
    frames = images.shape[1]
    parts = [np.stack(found[n : n + frames], 1) for n in range(0, len(found), frames)]
    return np.concatenate(parts)


def timed_training(config: RunConfig, run: Path, progress: bool = True) -> float:
    """Train or resume a run; return the CPU seconds of all calls for it, also if interrupted."""
    path = run / COST
    before = json.loads(path.read_text()) if path.is_file() else 0.0
    started = time.process_time()
    try:
        train(config, run, progress)
    finally:
        seconds = before + time.process_time() - started
        if run.is_dir():
            write_atomically(path, json.dumps(round(seconds, 1)))
    return seconds


def step_seconds(config: RunConfig, run: Path) -> float:
    """Return the CPU seconds of a step of training: what 80 steps cost more than 20, over 60."""
    costs = []
    for steps in TRIALS:
        trial = replace(config.training, steps=steps, epoch=steps, warmup=10)
        with TemporaryDirectory(prefix=f'{run.name}_trial_') as folder:
            costs.append(timed_training(replace(config, training=trial), Path(folder), False))
    return (costs[1] - costs[0]) / (TRIALS[1] - TRIALS[0])


def shortened(config: RunConfig, run: Path, minutes: float | None, steps: int | None) -> RunConfig:
    """Return a configuration with `steps`, or those that fit into CPU minutes, if given.

    The weights are averaged over a twentieth of a short run. A run that has started keeps its
    schedule.
    """
    training = config.training
    if (run / CONFIG).is_file():
        return replace(config, training=read_config(run / CONFIG).training)
    if steps is None:
        if minutes is None:
            return config
        steps = int(minutes * 60 / step_seconds(config, run))
    epoch = min(training.epoch, max(steps // EPOCHS, 1))
    steps = max(steps // epoch, 1) * epoch
    average = min(training.ema, 1 - 20 / steps)
    warmup = min(training.warmup, max(steps // 20, 1))
    short = replace(training, steps=steps, epoch=epoch, warmup=warmup, ema=average)
    return replace(config, training=short)


def train_and_score(config: RunConfig, name: str, seed: int, length: Length, test: Scene) -> dict:
    """Train or resume a run, and return its scores, core-minutes and curve.

    A run that has ended is only scored, with the rounds, starts and refinement of `config`.
    `not_joined` has the scores if all slots are kept, `not_refined` those of the masks of the
    model, and `one_start` those with the rounds and the single start of training as well.
    """
    inference = {name: getattr(config.model, name) for name in INFERENCE}
    run = Path(f'out/train/{name}_seed{seed}')
    config = replace(config, training=replace(config.training, seed=seed))
    config = shortened(config, run, *length)
    if not ((run / METRICS).is_file() and (run / CHECKPOINT).is_file()):
        timed_training(config, run)
    config = read_config(run / CONFIG)

    model = load_run(config, run, SlotModel).eval()

    def scores(**change: float) -> dict[str, float]:
        model.config = replace(config.model, **(inference | change))
        return mean_scores(test.labels, slot_segments(model, test.image))

    found: dict = scores()
    if inference['slot_penalty'] or inference['slot_tolerance']:
        found['not_joined'] = scores(slot_penalty=0.0, slot_tolerance=0.0)
    if inference['mask_rounds']:
        found['not_refined'] = scores(mask_rounds=0)
    if (inference['eval_iterations'], inference['starts']) != (0, 1):
        found['one_start'] = scores(mask_rounds=0, eval_iterations=0, starts=1)
    metrics = json.loads((run / METRICS).read_text())
    core_minutes = round(json.loads((run / COST).read_text()) / 60, 1)
    print(f'{name}, seed {seed}: {core_minutes} core-minutes', flush=True)
    return {
        **found,
        'core_minutes': core_minutes,
        'steps': metrics['steps'],
        'curve': curve(run, metrics['steps'], core_minutes),
        'parameters': metrics['parameters'],
    }


def curve(run: Path, steps: int, minutes: float) -> list[tuple[float, float]]:
    """Return core-minutes and FG-ARI of each validation of a run.

    Minutes are the share of the steps, so pauses of the run are spread evenly.
    """
    points = {}
    for path in sorted(run.glob('csv/*/metrics.csv')):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row.get('val_fg_ari'):
                    points[int(row['step']) + 1] = float(row['val_fg_ari'])
    return [(round(minutes * s / steps, 2), round(v, 4)) for s, v in sorted(points.items())]


def columns(rows: Sequence[dict]) -> dict:
    """Return rows of one form as a dictionary of lists."""
    return {key: [row[key] for row in rows] for key in rows[0]}


def plain(config: RunConfig) -> RunConfig:
    """Return a configuration as published.

    Random starts, gradient through all rounds, absolute positions, a decoder of convolutions,
    colors of each pixel, and the squared error of the image alone.
    """
    model = replace(
        config.model,
        init='random',
        implicit=False,
        positions='absolute',
        encoder_channels=(32, 32, 32, 64),
        kernel=5,
        stride=2,
        decoder='convolutions',
        decoder_channels=32,
        colors='pixels',
        color_space='rgb',
        masks='decoder',
        iterations=3,
        eval_iterations=0,
        starts=1,
        mask_rounds=0,
        slot_penalty=0.0,
        slot_tolerance=0.0,
    )
    training = replace(config.training, batch=32, precision='32-true', learning_rate=4e-4)
    section = replace(scenes_section(config), attention=0.0)
    return replace(config, model=model, training=training, scenes=section)


def measure_set(name: str, seeds: list[int], length: Length, reference: bool) -> dict:
    """Return the scores of a set for each seed, and of the baselines."""
    config = read_config(Path(f'config/train/slots_{name}.yaml'))
    section = scenes_section(config)
    assert section.set != 'photographs'  # no configuration of a set has them
    test = with_time(scenes(section.set, TEST_SCENES, TEST_SEED))
    rows = [train_and_score(config, config.name, seed, length, test) for seed in seeds]
    result = columns(rows) | {'seeds': seeds, 'baselines': baselines(test, config.model)}
    if reference:
        cost = Length(minutes=float(np.mean(result['core_minutes'])))
        label = f'{config.name}_plain'
        result['reference'] = columns(
            [train_and_score(plain(config), label, seed, cost, test) for seed in seeds]
        )
    return result


def measure_losses(seeds: list[int], length: Length) -> dict:
    """Return FG-ARI and mBO with each auxiliary loss, all of them, none, and attention masks."""
    config = read_config(Path(f'config/train/slots_{LOSSES_SET}.yaml'))
    section = scenes_section(config)
    test = with_time(scenes(LOSSES_SET, TEST_SCENES, TEST_SEED))
    variants = {
        'reconstruction': {},
        **{name: {name: weight} for name, weight in LOSSES.items()},
        'all': LOSSES,
    }
    table = {
        name: replace(config, scenes=replace(section, **weights))
        for name, weights in variants.items()
    }
    table['attention_masks'] = replace(config, model=replace(config.model, masks='attention'))
    return {
        name: columns(
            [train_and_score(each, f'losses_{name}', seed, length, test) for seed in seeds]
        )
        for name, each in table.items()
    }
