# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a training configuration file holds, such as `config/train/tinyvae.yaml`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from sage_perception.core.settings import (
    Count,
    Interval,
    NotNegative,
    Share,
    Whole,
    build,
    check,
    shown,
)
from sage_perception.models.networks.families import FAMILIES


class ConfigError(ValueError):
    """A configuration file that cannot be used, with the place and the reason in one line."""


@dataclass(frozen=True)
class DataConfig:
    """Which files are trained on: all under `root` but `exclude` and `held_out` patterns.

    Images are cut at any side from `smallest` pixels up; with `whole` they are not cut but
    only scaled. `stills_share` of the crops come from images, the rest from clips and bags.
    """

    root: str
    stills_share: Share = 0.6
    smallest: Annotated[int, Interval(8)] = 48
    whole: bool = False
    exclude: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained.

    `beta` weighs the divergence from the unit Gaussian, summed over dimensions, against the
    error of the images, which is squared at first and logarithmic in the end, or logarithmic
    throughout (`Trainee.error`). The specification's 0.1 (`docs/models.md`) collapses the code.
    From the share `ssim_from` of the run on, `ssim_weight` · (1 − SSIM) is added. The principal
    components and the latents' statistics are taken over `fitted_crops`.
    Validation that does not improve for `patience` epochs ends the run; 0: never. `precision` is
    Lightning's: `32-true`, `16-mixed`, `bf16-mixed`. `batch` is of all processes together: each
    step sees the same crops on any number of them.
    """

    steps: Count = 6000
    batch: Count = 64
    learning_rate: NotNegative = 1.5e-3
    weight_decay: NotNegative = 1e-3
    warmup: Count = 100
    beta: NotNegative = 1e-6
    ssim_weight: NotNegative = 0.1
    ssim_from: NotNegative = 0.75
    squared_first: bool = True
    ema: Share = 0.998
    epoch: Count = 250
    patience: Whole = 0
    precision: Literal['32-true', '16-mixed', 'bf16-mixed'] = '32-true'
    validation_crops: Count = 512
    fitted_crops: Annotated[int, Interval(2)] = 12_000
    seed: Annotated[int, Interval(0, 2**32 - 1)] = 1

    def __post_init__(self):
        check(self)
        if self.steps % self.epoch:
            raise ValueError(f'steps is {self.steps}, no multiple of epoch {self.epoch}')


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
    reconstruction: NotNegative = 0.3
    kl: NotNegative = 0.1
    latent: NotNegative = 0.3
    output: NotNegative = 0.2
    perceptual: NotNegative = 0.1
    temperature: Annotated[float, Interval(0, above=True)] = 3.0
    asked: Annotated[float, Interval(0, 1, above=True)] = 0.25

    def __post_init__(self):
        check(self)
        if self.reconstruction == self.output == self.perceptual == 0:
            raise ValueError(
                'reconstruction is 0, and so are output and perceptual: no term is left that says '
                'how images should look'
            )
        if (self.latent or self.output) and not self.teacher:
            raise ValueError('teacher is missing: name a model or a run folder')


@dataclass(frozen=True)
class ContextsConfig:
    """Which contexts a compressor learns from, recorded from the clips and images of `data`.

    `encoder` makes the latents. Each clip is played `runs` times, through other windows each
    time, those kept apart more often; `montages` scenes are made of images, a third as many of
    those kept apart.
    """

    encoder: str = 'tinyvae'
    runs: Count = 2
    montages: Whole = 18

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class RunConfig:
    """A whole configuration file.

    `model` is the configuration of a network of `family`. `encoder` names a model, or its
    folder, whose encoder and so whose latent space is kept as it is: only a decoder is trained.
    With `distillation` there is a teacher. With `contexts` it compresses those, not images:
    networks of family `h_to_l` do, and neither an encoder nor a teacher goes with that.
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

    def __post_init__(self):
        check(self)
        compresses = self.family == 'h_to_l'
        if compresses and self.contexts is None:
            raise ValueError('contexts is missing: family h_to_l learns from contexts')
        if self.contexts is not None:
            if not compresses:
                raise ValueError(f'contexts is for family h_to_l, not {self.family}: leave it out')
            for name in ('encoder', 'distillation'):
                if getattr(self, name):
                    raise ValueError(f'{name} does not go with contexts: leave it out')


def tree_of(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds; `ConfigError` if that is no mapping."""
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f'{path}: {error.strerror.lower()}') from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise ConfigError(f'{path}, line {line}: {error.problem}') from None
    except (yaml.YAMLError, ValueError) as error:  # as no text, or no date, at all
        raise ConfigError(f'{path}: {" ".join(str(error).split())}') from None
    if not isinstance(tree, dict):
        raise ConfigError(f'{path}: it is {shown(tree)}, not a mapping as in config/train')
    return tree


def data_of(tree: dict[str, Any], path: Path) -> Any:
    """Return the section `data`; a key `like` names the file whose section it changes."""
    data = tree['data']
    if not isinstance(data, dict) or 'like' not in data:
        return data
    own = {key: value for key, value in data.items() if key != 'like'}
    theirs = tree_of(path.parent / str(data['like'])).get('data')
    if not isinstance(theirs, dict) or 'like' in theirs:
        raise ConfigError(f'data.like is {data["like"]!r}, it is a file whose data has no like')
    return theirs | own


def read_config(path: Path) -> RunConfig:
    """Read a configuration file; `ConfigError` names what does not fit."""
    tree = {'family': 'tinyvae', **tree_of(path)}
    family = tree['family']
    try:
        if family not in tuple(FAMILIES):
            raise ValueError(f'family is {shown(family)}, it is one of {", ".join(FAMILIES)}')
        sections = {
            'model': FAMILIES[family].config,
            'data': DataConfig,
            'training': TrainingConfig,
            'distillation': DistillationConfig,
            'contexts': ContextsConfig,
        }
        if 'data' in tree:
            tree['data'] = data_of(tree, path)
        built = {
            name: build(kind, tree[name], f'{name}.')
            for name, kind in sections.items()
            if name in tree
        }
        return build(RunConfig, tree | built)
    except ValueError as error:
        raise ConfigError(f'{path}: {" ".join(str(error).split())}') from None


def write_config(config: RunConfig, path: Path) -> None:
    """Write a configuration file that `read_config` reads as `config`."""
    tree = {key: value for key, value in asdict(config).items() if value is not None}
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
