# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training configuration files, such as `config/train/tinyvae.yaml`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from sage_perception.core.files import write_atomically
from sage_perception.core.settings import (
    Interval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    UnitInterval,
    build,
    check,
    shown,
)
from sage_perception.core.text import one_line
from sage_perception.core.yaml_file import read_mapping
from sage_perception.models.networks.families import FAMILIES
from sage_perception.training.data.objects.pool import SceneSet


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file or key and the reason."""


@dataclass(frozen=True)
class DataConfig:
    """Which files to train on.

    Attributes
    ----------
    root : str
        Folder with images, clips and bags.
    stills_share : float
        Share of the crops that come from images; the others come from clips and bags.
    smallest : int
        Smallest side, in pixels, of a square that is cut out of an image.
    whole : bool
        Scale images instead of cutting them.
    exclude, held_out : tuple of str
        Glob patterns of files to leave out, and of files to validate on (default: every tenth
        file of each kind).

    """

    root: str
    stills_share: UnitInterval = 0.6
    smallest: Annotated[int, Interval(8)] = 48
    whole: bool = False
    exclude: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes
    ----------
    steps, batch : int
        Optimizer steps, and crops per step over all processes: each step sees the same crops on
        any number of processes.
    learning_rate, weight_decay : float
        Of AdamW.
    warmup : int
        Steps over which the learning rate rises linearly.
    beta : float
        Weight of the KL divergence, summed over dimensions, against the error of the images. The
        0.1 of the specification collapses the code (`docs/models.md`).
    ssim_weight, ssim_from : float
        Weight of 1 − SSIM, and the share of the run after which it is added.
    squared_first : bool
        Start with a squared error that becomes logarithmic; otherwise the error is logarithmic
        throughout (`VaeModule.error`).
    ema : float
        Decay of the averaged weights.
    epoch : int
        Steps between two validations, each with a checkpoint.
    patience : int
        Epochs without improvement after which the run ends; 0 disables this.
    precision : str
        Lightning's precision.
    validation_crops, fitted_crops : int
        Crops to validate on, and to fit principal components and latent statistics to.
    seed : int
        Determines initial weights, crops and noise.

    """

    steps: PositiveInt = 6000
    batch: PositiveInt = 64
    learning_rate: NonNegativeFloat = 1.5e-3
    weight_decay: NonNegativeFloat = 1e-3
    warmup: PositiveInt = 100
    beta: NonNegativeFloat = 1e-6
    ssim_weight: NonNegativeFloat = 0.1
    ssim_from: NonNegativeFloat = 0.75
    squared_first: bool = True
    ema: UnitInterval = 0.998
    epoch: PositiveInt = 250
    patience: NonNegativeInt = 0
    precision: Literal['32-true', '16-mixed', 'bf16-mixed'] = '32-true'
    validation_crops: PositiveInt = 512
    fitted_crops: Annotated[int, Interval(2)] = 12_000
    seed: Annotated[int, Interval(0, 2**32 - 1)] = 1

    def __post_init__(self) -> None:
        check(self)
        if self.steps % self.epoch:
            raise ValueError(f'steps is {self.steps}, not a multiple of epoch {self.epoch}')


@dataclass(frozen=True)
class DistillationConfig:
    """How a small network learns from a large one.

    The weights of the five terms are those of specification 002 (§7.2); 0 disables a term and its
    cost. Terms on other scales are brought to the scale of squared error first (`docs/models.md`).
    At the defaults, reconstruction and divergence have the same weight as without a teacher, 1 and
    `training.beta`.

    Attributes
    ----------
    teacher : str
        Name or folder of a model, or the run folder of one.
    reconstruction, kl, latent, output, perceptual : float
        Weights of the terms.
    temperature : float
        Factor of the standard deviations of the latents in their divergence.
    batch_share : float
        Share of each batch that the teacher and the perceptual network evaluate; both are far
        slower than the student.

    """

    teacher: str = ''
    reconstruction: NonNegativeFloat = 0.3
    kl: NonNegativeFloat = 0.1
    latent: NonNegativeFloat = 0.3
    output: NonNegativeFloat = 0.2
    perceptual: NonNegativeFloat = 0.1
    temperature: Annotated[float, Interval(0, open_low=True)] = 3.0
    batch_share: Annotated[float, Interval(0, 1, open_low=True)] = 0.25

    def __post_init__(self) -> None:
        check(self)
        if self.reconstruction == self.output == self.perceptual == 0:
            raise ValueError(
                'reconstruction, output and perceptual are 0: set one above 0, no other term '
                'depends on the images'
            )
        if (self.latent or self.output) and not self.teacher:
            raise ValueError('teacher is missing: set the name of a model or a run folder')


@dataclass(frozen=True)
class ContextsConfig:
    """Which contexts a compressor learns from; they are recorded from the files of `data`.

    Attributes
    ----------
    encoder : str
        Model that encodes the latents.
    runs : int
        Number of times that each clip is played, each time with different virtual cameras.
        Held-out clips are played at least eight times.
    montages : int
        Number of scenes composed of training images; a third as many of held-out images.

    """

    encoder: str = 'tinyvae'
    runs: PositiveInt = 2
    montages: NonNegativeInt = 18

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ScenesConfig:
    """Which generated scenes a slot model learns from, and the weights of its losses.

    Attributes
    ----------
    set : str
        Key of `GENERATORS`; or `'photographs'`: crops of the photographs in `data`, for models
        that compose features (`decoder_features`).
    count, held_out : int
        Scenes of training, and those of validation.
    frames : int
        Successive frames of a video in one step; 1 for images.
    orthogonality, mask_entropy, coverage, appearance : float
        Weights of the auxiliary losses against the squared error; 0, as in the specification,
        disables a loss.
    losses_from : float
        Share of the run after which the auxiliary losses start to rise.
    attention : float
        Weight of the squared error of the image that the attention composes instead of the masks
        of the decoder, at the resolution of the tokens. It falls linearly to 0: attention is
        learned sooner than masks, and slots that hold objects teach the decoder.
    attention_until : float
        Share of the run after which this weight is 0.

    """

    set: Literal[SceneSet, 'photographs']
    count: PositiveInt = 20_000
    held_out: PositiveInt = 320
    frames: Annotated[int, Interval(1, 24)] = 1
    orthogonality: NonNegativeFloat = 0.0
    mask_entropy: NonNegativeFloat = 0.0
    coverage: NonNegativeFloat = 0.0
    appearance: NonNegativeFloat = 0.0
    losses_from: UnitInterval = 0.3
    attention: NonNegativeFloat = 0.0
    attention_until: UnitInterval = 0.6

    def __post_init__(self) -> None:
        check(self)
        if self.frames > 1 and not self.set.startswith('moving'):
            raise ValueError(f'frames is {self.frames}; it must be 1 for the images of {self.set}')


@dataclass(frozen=True)
class RunConfig:
    """The content of a configuration file.

    Attributes
    ----------
    name, version : str
        Of the model.
    family : str
        Key of `FAMILIES`; `model` is the configuration of its network.
    encoder : str
        Name or folder of a model whose encoder, and so whose latent space, is kept: only a decoder
        is trained. Family `identity` requires it: its latents are those that the head takes.
        Family `codes` requires it, too: the model of semantic codes that it learns from; and
        family `slot_sequences`: the slot model whose slots are predicted.
    distillation : DistillationConfig, optional
        Learn from a teacher.
    contexts : ContextsConfig, optional
        Required for the family `h_to_l`, which compresses contexts, and not allowed for others.
        Excludes `encoder` and `distillation`.
    scenes : ScenesConfig, optional
        Required for the families `slots` and `slot_sequences`, which learn from generated scenes
        instead of `data`, and not allowed for others. Excludes `encoder` for `slots`.

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
    scenes: ScenesConfig | None = None

    def __post_init__(self) -> None:
        check(self)
        learns_slots = self.family in ('slots', 'slot_sequences')
        if learns_slots and self.scenes is None:
            raise ValueError(f'scenes is missing: family {self.family} learns from scenes')
        if self.scenes is not None and not learns_slots:
            raise ValueError(f'scenes is for family slots, not {self.family}: remove it')
        if self.family == 'slot_sequences':
            if not self.encoder:
                raise ValueError('encoder is missing: name the slot model whose slots to predict')
        elif self.scenes is not None:
            self._require_unset('scenes')
            if (self.scenes.set == 'photographs') != bool(self.model.decoder_features):
                raise ValueError(
                    f'scenes.set is {self.scenes.set}, decoder_features '
                    f'{self.model.decoder_features}: models with features learn from photographs, '
                    'models of pixels from generated scenes'
                )
        if self.family == 'identity' and not self.encoder:
            raise ValueError(
                'encoder is missing: family identity learns from the latents of a model'
            )
        if self.family == 'codes' and not self.encoder:
            raise ValueError('encoder is missing: family codes learns from a model of codes')
        compresses = self.family == 'h_to_l'
        if compresses and self.contexts is None:
            raise ValueError('contexts is missing: family h_to_l learns from contexts')
        if self.contexts is not None:
            if not compresses:
                raise ValueError(f'contexts is for family h_to_l, not {self.family}: remove it')
            self._require_unset('contexts')

    def _require_unset(self, section: str) -> None:
        """Raise `ValueError` for a field that cannot be combined with a section."""
        for name in ('encoder', 'distillation'):
            if getattr(self, name):
                raise ValueError(f'{name} cannot be combined with {section}: remove it')


def read_tree(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises `ConfigError`."""
    try:
        return {str(key): value for key, value in read_mapping(path).items()}
    except OSError as error:
        raise ConfigError(f'{path}: {(error.strerror or str(error)).lower()}') from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def data_section(tree: dict[str, Any], path: Path) -> Any:
    """Return the section `data` with its key `like` resolved.

    `like` names a file whose section `data` is the default for the other keys.
    """
    data = tree['data']
    if not isinstance(data, dict) or 'like' not in data:
        return data
    own = {key: value for key, value in data.items() if key != 'like'}
    base = read_tree(path.parent / str(data['like'])).get('data')
    if not isinstance(base, dict) or 'like' in base:
        raise ConfigError(
            f'data.like is {data["like"]!r}: name a file whose section data has no key like'
        )
    return base | own


def read_config(path: Path) -> RunConfig:
    """Read a configuration file. Raises `ConfigError` that names the key and the valid values."""
    tree = {'family': 'tinyvae', **read_tree(path)}
    family = tree['family']
    try:
        if family not in tuple(FAMILIES):
            raise ValueError(f'family is {shown(family)}; it must be one of {", ".join(FAMILIES)}')
        sections: dict[str, type[Any]] = {
            'model': FAMILIES[family].config,
            'data': DataConfig,
            'training': TrainingConfig,
            'distillation': DistillationConfig,
            'contexts': ContextsConfig,
            'scenes': ScenesConfig,
        }
        if family.startswith('slot') or family == 'audio':  # learn from what is generated
            tree.setdefault('data', {'root': ''})
        if 'data' in tree:
            tree['data'] = data_section(tree, path)
        built: dict[str, Any] = {
            name: build(kind, tree[name], f'{name}.')
            for name, kind in sections.items()
            if name in tree
        }
        return build(RunConfig, tree | built)
    except ValueError as error:
        raise ConfigError(f'{path}: {one_line(error)}') from None


class _Dumper(yaml.SafeDumper):
    """Repeats shared values: `read_config` rejects aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_config(config: RunConfig, path: Path) -> None:
    """Write a configuration file that `read_config` reads as `config`."""
    tree = {key: value for key, value in asdict(config).items() if value is not None}
    write_atomically(path, yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
