# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a training configuration file holds, such as `config/train/tinyvae.yaml`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from sage_perception.models.families import FAMILIES

KEYS = {
    *('name', 'version', 'family', 'model', 'data', 'training', 'encoder', 'distillation'),
    'contexts',
}
PRECISIONS = ('32-true', '16-mixed', 'bf16-mixed')


class ConfigError(ValueError):
    """A configuration file that cannot be used, with the place and the reason."""


@dataclass(frozen=True)
class DataConfig:
    """Which files are trained on: all under `root` but `exclude` and `held_out` patterns.

    Pictures are cut at any side from `smallest` pixels up; with `whole` they are not cut but
    only scaled. `stills_share` of the crops come from pictures, the rest from clips and bags.
    """

    root: str
    stills_share: float = 0.6
    smallest: int = 48
    whole: bool = False
    exclude: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def __post_init__(self):
        if not 0 <= self.stills_share <= 1:
            raise ConfigError(f'data.stills_share is {self.stills_share}, it is in [0, 1]')
        if self.smallest < 8:
            raise ConfigError(f'data.smallest is {self.smallest}, it is 8 pixels at least')


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained.

    `beta` weighs the divergence from the unit Gaussian, summed over dimensions, against the
    error of the pictures, which is squared at first and logarithmic in the end, or logarithmic
    throughout (`Trainee.error`). The specification's 0.1 (`docs/models.md`) collapses the code.
    From the share `ssim_from` of the run on, `ssim_weight` · (1 − SSIM) is added. The principal
    components and the latents' statistics are taken over `fitted_crops`.
    Validation that does not improve for `patience` epochs ends the run; 0: never. `precision` is
    Lightning's: `32-true`, `16-mixed`, `bf16-mixed`. `batch` is of all processes together: each
    step sees the same crops on any number of them.
    """

    steps: int = 6000
    batch: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    warmup: int = 100
    beta: float = 1e-6
    ssim_weight: float = 0.1
    ssim_from: float = 0.75
    squared_first: bool = True
    ema: float = 0.998
    epoch: int = 250
    patience: int = 0
    precision: str = '32-true'
    validation_crops: int = 512
    fitted_crops: int = 12_000
    seed: int = 1

    def __post_init__(self):
        if self.steps % self.epoch:
            raise ConfigError(f'training.steps {self.steps} is no multiple of epoch {self.epoch}')
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f'training.precision is {self.precision!r}, it is one of {", ".join(PRECISIONS)}'
            )
        if self.patience < 0:
            raise ConfigError(f'training.patience is {self.patience}, it is 0 epochs or more')


@dataclass(frozen=True)
class DistillationConfig:
    """How a small network learns from a large one.

    `teacher` names a model, its folder, or the folder of the run that trained it. The shares of
    the five terms are those of specification 002 (§7.2); a share of 0 switches its term off and
    what it costs. Shares of terms that live on other scales are shares of what weighs as much as
    squared error (`docs/models.md`): at these defaults reconstruction and divergence weigh as much
    as without a teacher, 1 and `training.beta`. `temperature` softens the Gaussians of the
    latents. The teacher and the perceptual network, far dearer than the student, are asked about
    the share `asked` of each batch.
    """

    teacher: str = ''
    reconstruction: float = 0.3
    kl: float = 0.1
    latent: float = 0.3
    output: float = 0.2
    perceptual: float = 0.1
    temperature: float = 3.0
    asked: float = 0.25

    def __post_init__(self):
        for name in ('reconstruction', 'kl', 'latent', 'output', 'perceptual'):
            if getattr(self, name) < 0:
                raise ConfigError(f'distillation.{name} is {getattr(self, name)}, it is 0 or more')
        if self.reconstruction == self.output == self.perceptual == 0:
            raise ConfigError('distillation: no term is left that says how pictures should look')
        if (self.latent or self.output) and not self.teacher:
            raise ConfigError('distillation.teacher is missing: name a model or a run folder')
        if self.temperature <= 0:
            raise ConfigError(f'distillation.temperature is {self.temperature}, it is over 0')
        if not 0 < self.asked <= 1:
            raise ConfigError(f'distillation.asked is {self.asked}, it is in (0, 1]')


@dataclass(frozen=True)
class ContextsConfig:
    """Which contexts a compressor learns from, recorded from the clips and pictures of `data`.

    `encoder` makes the latents. Each clip is played `runs` times, through other windows each
    time, those kept apart more often; `montages` scenes are made of pictures, a third as many of
    those kept apart.
    """

    encoder: str = 'tinyvae'
    runs: int = 2
    montages: int = 18

    def __post_init__(self):
        if self.runs < 1 or self.montages < 0:
            raise ConfigError(
                f'contexts.runs is {self.runs}, 1 at least; contexts.montages {self.montages}, '
                '0 at least'
            )


@dataclass(frozen=True)
class RunConfig:
    """A whole configuration file.

    `model` is the configuration of a network of `family`. `encoder` names a model, or its
    folder, whose encoder and so whose latent space is kept as it is: only a decoder is trained.
    With `distillation` there is a teacher. With `contexts` it compresses those, not pictures.
    """

    name: str
    version: str
    family: str
    model: Any
    data: DataConfig
    training: TrainingConfig
    encoder: str = ''
    distillation: DistillationConfig | None = None
    contexts: ContextsConfig | None = None


def data_of(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the section `data`; a key `like` names the file whose section it changes."""
    data = dict(tree['data'])
    if 'like' in data:
        other = path.parent / data.pop('like')
        data = yaml.safe_load(other.read_text())['data'] | data
    return data


def read_config(path: Path) -> RunConfig:
    """Read a configuration file; `ConfigError` names what does not fit."""
    try:
        tree = yaml.safe_load(path.read_text())
        if unknown := tree.keys() - KEYS:
            raise ConfigError(f'unknown section {", ".join(sorted(unknown))}')
        family = tree.get('family', 'tinyvae')
        if family not in FAMILIES:
            raise ConfigError(f'family is {family!r}, it is one of {", ".join(FAMILIES)}')
        return RunConfig(
            name=str(tree['name']),
            version=str(tree['version']),
            family=family,
            model=FAMILIES[family].config(**tree['model']),
            data=DataConfig(**data_of(tree, path)),
            training=TrainingConfig(**tree['training']),
            encoder=tree.get('encoder', ''),
            distillation=DistillationConfig(**tree['distillation'])
            if 'distillation' in tree
            else None,
            contexts=ContextsConfig(**tree['contexts']) if 'contexts' in tree else None,
        )
    except FileNotFoundError as error:
        raise ConfigError(f'{error.filename}: no such file') from None
    except KeyError as error:
        raise ConfigError(f'{path}: the section or key {error} is missing') from None
    except (TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f'{path}: {error}') from error


def write_config(config: RunConfig, path: Path) -> None:
    """Write a configuration file that `read_config` reads as `config`."""
    tree = {key: value for key, value in asdict(config).items() if value is not None}
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
