# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop that all model families share: checkpoints, averaged weights, metrics."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from sage_perception.core.files import write_atomically
from sage_perception.training.config import RunConfig, write_config
from sage_perception.training.module import TrainingModule
from sage_perception.training.runs import CHECKPOINT, CONFIG, METRICS, require_current_names


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
            *([TQDMProgressBar(refresh_rate=10)] if progress else []),
        ],
        logger=[CSVLogger(out, 'csv'), TensorBoardLogger(out, 'tensorboard', '')],
        log_every_n_steps=min(25, config.training.epoch),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=progress,
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
    return [EarlyStopping(module.MONITOR, patience=epochs, mode='max')] if epochs else []
