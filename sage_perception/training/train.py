# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train a model as a configuration file says: `sage train config/train/tinyvae.yaml`."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.models import artifact
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.registry import resolve
from sage_perception.training.config import (
    ConfigError,
    RunConfig,
    TrainingConfig,
    read_config,
    write_config,
)
from sage_perception.training.data.crops import CropStream, Mixture, mixture, to_model
from sage_perception.training.runs import CHECKPOINT, CONFIG, METRICS, keep_encoder, load_run
from sage_perception.training.tasks.distillation import FITTED_CROPS, new_distiller
from sage_perception.training.tasks.vae import Task


class CropData(lightning.LightningDataModule):
    """Endless varied crops in epochs of a fixed number of steps; fixed ones to validate on."""

    def __init__(self, train: Mixture, validation: Mixture, channels: int, config: TrainingConfig):
        super().__init__()
        self.train, self.channels, self.config = train, channels, config
        crops = validation.sample(config.validation_crops, seed=0)
        self.validation = torch.from_numpy(to_model(crops, channels))

    def train_dataloader(self) -> DataLoader:
        """Return this epoch's crops: the stream goes on where the last epoch ended."""
        count = self.config.epoch * self.config.batch
        start = self.trainer.current_epoch * count
        stream = CropStream(self.train, self.channels, self.config.seed, start, count)
        return DataLoader(stream, self.batch)

    def val_dataloader(self) -> DataLoader:
        """Return the crops to validate on."""
        return DataLoader(self.validation, self.batch)

    @property
    def batch(self) -> int:
        """Return how many crops of a batch one process takes; Lightning deals them out."""
        return self.config.batch // self.trainer.world_size


def varied_crops(crops: Mixture, config: RunConfig, count: int | None = None) -> np.ndarray:
    """Return crops to fit something linear to, float32 `[N, C, S, S]`, varied as in training.

    The variation makes principal components that fit other images better: a fairer baseline
    too. There are `training.fitted_crops` of them unless `count` says otherwise.
    """
    count = count or config.training.fitted_crops
    stream = CropStream(crops, config.model.input_channels, config.training.seed, 0, count)
    return np.stack([stream[index] for index in range(count)])


def new_model(config: RunConfig, crops: Mixture) -> nn.Module:
    """Return the network to train: at the principal components, or with a model's encoder."""
    model = FAMILIES[config.family].network(config.model)
    if config.encoder:
        start_from_model(model, config.encoder)
    else:
        model.init_from_crops(torch.from_numpy(varied_crops(crops, config)))
    return model


def start_from_model(model: nn.Module, name: str) -> None:
    """Give a network the encoder of a model, by name or folder, to keep, and a start to train on.

    What the decoders have in common by name and shape, such as the linear path, is that start.
    """
    known = artifact.read(resolve(name))
    keep_encoder(model, known)
    own = model.state_dict()
    common = {
        key: torch.from_numpy(value)
        for key, value in known.tensors.items()
        if key in own and value.shape == own[key].shape
    }
    model.load_state_dict(common, strict=False)


def new_task(config: RunConfig, crops: Mixture, run: Path) -> Task:
    """Return what is trained: from the start on, or with what the folder of a run has of it."""
    resumed = (run / CHECKPOINT).exists()
    model = load_run(config, run) if resumed else new_model(config, crops)
    if config.distillation is None:
        return Task(model, config.training)
    distiller = new_distiller(model, config)
    if distiller.projection is not None and not resumed:
        distiller.fit_projection(torch.from_numpy(varied_crops(crops, config, FITTED_CROPS)))
    return distiller


def train(config: RunConfig, out: Path, progress: bool = True) -> Task:
    """Train, or go on with what `out` holds; leave checkpoint and metrics there.

    Returns the trained module with the averaged weights.
    """
    if config.contexts is not None:
        from sage_perception.training.tasks import h_to_l as compression

        return compression.train(config, out, progress)
    crops = mixture(config.data, config.model.img_size)
    held_out = mixture(config.data, config.model.img_size, held_out=True)
    return fit(config, crops, held_out, out, progress)


def fit(
    config: RunConfig, crops: Mixture, held_out: Mixture, out: Path, progress: bool = True
) -> Task:
    """Train on `crops` and validate on `held_out` as `train` does.

    Under torchrun each process takes its share of every batch, and the first one writes.
    """
    cv2.setNumThreads(1)
    lightning.seed_everything(config.training.seed, verbose=False)
    processes = int(os.environ.get('WORLD_SIZE', 1))  # which torchrun sets, and the others below
    if config.training.batch % processes:
        raise ConfigError(
            f'training.batch {config.training.batch} is no multiple of {processes} processes'
        )
    out.mkdir(parents=True, exist_ok=True)
    task = new_task(config, crops, out)
    data = CropData(crops, held_out, config.model.input_channels, config.training)
    return learn(config, task, data, out, progress)


def learn(
    config: RunConfig,
    task: Task,
    data: lightning.LightningDataModule,
    out: Path,
    progress: bool = True,
) -> Task:
    """Train on `data`, or go on with what the folder `out` holds; leave checkpoint and metrics."""
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
            *patience(task),
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
    resume = out / CHECKPOINT
    trainer.fit(task, data, ckpt_path=resume if resume.exists() else None)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if not figures:  # it had ended before, and what was loaded is not averaged
        checkpoint = torch.load(resume, map_location='cpu', weights_only=True)
        task.load_state_dict(checkpoint['state_dict'])
    elif trainer.is_global_zero:
        write_metrics(config, task, figures, timer.time_elapsed('train'), out)
    return task


def write_metrics(
    config: RunConfig, task: Task, figures: dict[str, float], seconds: float, out: Path
) -> None:
    """Write how a run ended: `figures` are the last ones of its loss and validation."""
    steps = task.trainer.global_step
    tree = {
        'name': config.name,
        'version': config.version,
        'parameters': sum(p.numel() for p in task.model.parameters()),
        'steps': steps,
        'stopped_early': steps < config.training.steps,
        'seconds': round(seconds, 1),  # from the first step on, what a resumed run took before too
        'processes': task.trainer.world_size,
        'seed': config.training.seed,
        **{name: round(value, 6) for name, value in sorted(figures.items())},
    }
    (out / METRICS).write_text(json.dumps(tree, indent=1) + '\n')


def patience(task: Task) -> list[EarlyStopping]:
    """Return what ends a run that no longer improves, if that is wanted."""
    epochs = task.config.patience
    return [EarlyStopping(task.JUDGED_BY, patience=epochs, mode='max')] if epochs else []


@in_one_line('sage train')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage train`; return the exit code."""
    parser = Parser(prog='sage train', description=__doc__)
    parser.add_argument('config', type=Path, help='such as config/train/tinyvae.yaml')
    parser.add_argument('--out', type=Path, help='run folder, out/train/NAME unless given')
    args = parser.parse_args(argv)
    config = read_config(args.config)
    out = args.out or Path('out/train') / config.name
    train(config, out)
    if os.environ.get('RANK', '0') == '0':
        print(f'trained: {out}/last.ckpt. Next: sage export {args.config} --run {out} --to DIR')
    return 0


if __name__ == '__main__':
    sys.exit(main())
