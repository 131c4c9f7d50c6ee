# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train a model of any family from a configuration."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import lightning

from sage_perception.training.config import ConfigError, RunConfig
from sage_perception.training.loop import run_loop
from sage_perception.training.module import TrainingModule
from sage_perception.training.task import DataT, Task
from sage_perception.training.tasks import task_for


def train(config: RunConfig, out: Path, progress: bool = True) -> TrainingModule:
    """Train a model, or resume the run in the folder `out`.

    Write the checkpoint and the metrics to `out`. Return the module with the averaged weights.
    Raises `ConfigError`, `ModelError`, and `ValueError` for data that cannot be used.
    """
    task = task_for(config)
    return fit(task, task.data(), out, progress)


def fit(task: Task[DataT], data: DataT, out: Path, progress: bool = True) -> TrainingModule:
    """Train on `data` as `train` does."""
    cv2.setNumThreads(1)
    training = task.config.training
    lightning.seed_everything(training.seed, verbose=False)
    processes = int(os.environ.get('WORLD_SIZE', 1))  # set by torchrun
    if training.batch % processes:
        raise ConfigError(
            f'training.batch is {training.batch}, not a multiple of {processes} processes'
        )
    out.mkdir(parents=True, exist_ok=True)
    module = task.module(data, out)
    return run_loop(task.resolved_config(data), module, data, out, progress)
