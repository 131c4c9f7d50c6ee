# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Mix crops of several sources in fixed proportions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data.crops import Clips, CropConfig, CropSource, Stills
from sage_perception.training.data.files import (
    FileFilter,
    any_file,
    file_filter,
    files_by_kind,
)

SOURCES: dict[str, type[Stills] | type[Clips]] = {'stills': Stills, 'motion': Clips}


@dataclass(frozen=True)
class Mixture:
    """Sources of crops, and the relative frequency of each."""

    sources: tuple[CropSource, ...]
    weights: tuple[float, ...]
    config: CropConfig = field(default_factory=CropConfig)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return one crop, uint8 RGB `[S, S, 3]`."""
        p = np.asarray(self.weights) / sum(self.weights)
        return self.sources[rng.choice(len(self.sources), p=p)].draw(rng, self.config)

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Return `count` crops that `seed` determines, uint8 RGB `[count, S, S, 3]`."""
        rng = np.random.default_rng(seed)
        return np.stack([self.draw(rng) for _ in range(count)])


def crop_sources(root: Path, selected: FileFilter = any_file) -> dict[str, CropSource]:
    """Return the sources of crops under `root` by kind, as `files_by_kind` does.

    Raises `ConfigError`, `FileNotFoundError`, and `ValueError` for a file that cannot be used.
    """
    return {kind: SOURCES[kind](paths) for kind, paths in files_by_kind(root, selected).items()}


def mixture(data: DataConfig, size: int, held_out: bool = False) -> Mixture:
    """Return the crops to train on, or with `held_out` those of the held-out files.

    Crops are `size` pixels a side. Files of a kind with share 0 are not read. Raises
    `ConfigError`.
    """
    try:
        found = files_by_kind(Path(data.root), file_filter(data, held_out))
    except FileNotFoundError as error:
        raise ConfigError(f'data.root: {error}') from None
    except ConfigError as error:
        if held_out:
            reason = 'data.held_out matches no file'
            if not data.held_out:
                reason = 'to hold one out, add a second file of its kind or set data.held_out'
            raise ConfigError(f'{error}: {reason}') from None
        raise
    shares = {'stills': data.stills_share, 'motion': 1 - data.stills_share}
    weights = {kind: shares[kind] for kind in found if shares[kind]}
    if not weights:
        place = 'data.held_out matches' if held_out else f'{data.root} has'
        only = 'images' if 'stills' in found else 'clips'
        raise ConfigError(
            f'data.stills_share is {data.stills_share}, but {place} only {only}: '
            'set a share between 0 and 1'
        )
    try:
        sources = tuple(SOURCES[kind](found[kind]) for kind in weights)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    crops = CropConfig(size, data.smallest, whole=data.whole, loose=not held_out)
    return Mixture(sources, tuple(weights.values()), crops)
