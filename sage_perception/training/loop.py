# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop that all model families share: checkpoints, averaged weights, metrics."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from sage_perception.core.files import write_atomically
from sage_perception.core.progress import Bar
from sage_perception.training.config import RunConfig, write_config
from sage_perception.training.module import TrainingModule
from sage_perception.training.runs import CHECKPOINT, CONFIG, METRICS, require_current_names

MIN_IMPROVEMENT = 1e-4
"""Least rise of the validation figure that counts: averaging of weights rounds."""


def run_loop(
    config: RunConfig,
    module: TrainingModule,
    data: lightning.LightningDataModule,
    out: Path,
    progress: bool = True,
) -> TrainingModule:
    """Train `module` on `data`, or resume from the checkpoint in the folder `out`.

    Write the configuration, the checkpoint and the metrics to `out`. Return the module with the
    averaged weights. Under torchrun, each process trains on its share of every batch and the
    first one writes. Raises `ConfigError` for a checkpoint of version 0.1.
    """
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        require_current_names(config, out)
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', 'Checkpoint directory .* not empty', UserWarning)
    timer = Timer()
    trainer = lightning.Trainer(
        accelerator='auto',
        devices=int(os.environ.get('LOCAL_WORLD_SIZE', 1)),
        num_nodes=int(os.environ.get('GROUP_WORLD_SIZE', 1)),
        precision=config.training.precision,
        max_epochs=config.training.steps // config.training.epoch,
        callbacks=[
            EMAWeightAveraging(decay=config.training.ema),
            ModelCheckpoint(out, Path(CHECKPOINT).stem, enable_version_counter=False),
            timer,
            *early_stopping(module),
            *([TrainingBar()] if progress else []),
        ],
        logger=[CSVLogger(out, 'csv'), TensorBoardLogger(out, 'tensorboard', '')],
        log_every_n_steps=min(25, config.training.epoch),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if trainer.is_global_zero:
        write_config(config, out / CONFIG)
    trainer.fit(module, data, ckpt_path=checkpoint if checkpoint.exists() else None)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if not figures:  # the run had ended before, and Lightning restored weights before averaging
        averaged = torch.load(checkpoint, map_location='cpu', weights_only=True)
        module.load_state_dict(averaged['state_dict'])
    elif trainer.is_global_zero:
        write_metrics(config, module, figures, timer.time_elapsed('train'), out)
    return module


class TrainingBar(Callback):
    """Shows the steps of a run and its last validation figure."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Show the bar, in the first process only."""
        if trainer.is_global_zero and isinstance(pl_module, TrainingModule):
            self._bar = Bar('training', pl_module.config.steps)
            self._bar.advance(trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count one step."""
        if self._bar is not None and isinstance(pl_module, TrainingModule):
            value = trainer.callback_metrics.get(pl_module.MONITOR)
            figure = '' if value is None else f', {pl_module.MONITOR} {float(value):.3f}'
            self._bar.advance(trainer.global_step - self._bar.completed, f'training{figure}')

    def teardown(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Remove the bar, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def write_metrics(
    config: RunConfig, module: TrainingModule, figures: dict[str, float], seconds: float, out: Path
) -> None:
    """Write the final metrics of a run; `figures` are the last losses and validation figures.

    `seconds` is the time since the first step, including that before the run was resumed.
    """
    steps = module.trainer.global_step
    tree = {
        'name': config.name,
        'version': config.version,
        'parameters': sum(p.numel() for p in module.model.parameters()),
        'steps': steps,
        'stopped_early': steps < config.training.steps,
        'seconds': round(seconds, 1),
        'processes': module.trainer.world_size,
        'seed': config.training.seed,
        **{name: round(value, 6) for name, value in sorted(figures.items())},
    }
    write_atomically(out / METRICS, json.dumps(tree, indent=1) + '\n')


def early_stopping(module: TrainingModule) -> list[Callback]:
    """Return the callback that ends a run without improvement, if `patience` is set."""
    epochs = module.config.patience
    if not epochs:
        return []
    return [EarlyStopping(module.MONITOR, MIN_IMPROVEMENT, epochs, mode='max')]
