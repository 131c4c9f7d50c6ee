# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of generated scenes, kept in a cache file."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sage_perception.core.npz_file import read_or_compute
from sage_perception.core.progress import Bar
from sage_perception.training.data.objects import moving, rendered, scene, sprites, tetrominoes
from sage_perception.training.data.objects.scene import Rng, Scene

CACHE = Path('out/data/objects')
MAX_BYTES = 16 << 30
"""Maximum size of a file of scenes; 20,000 videos of 24 frames take 8 GB."""

SceneSet = Literal[
    'tetrominoes', 'sprites', 'solids', 'moving_sprites', 'moving_solids', 'occluded_sprites'
]

GENERATORS: dict[str, Callable[[Rng], Scene]] = {
    'tetrominoes': tetrominoes.tetrominoes,
    'sprites': sprites.sprites,
    'solids': rendered.solids,
    'moving_sprites': moving.moving_sprites,
    'moving_solids': moving.moving_solids,
    'occluded_sprites': moving.occluded_sprites,
}
"""The function that generates a scene of each set."""


def scenes(name: SceneSet, count: int, seed: int, progress: bool = True) -> Scene:
    """Return `count` scenes of a set, stacked: images `[N, …]` and labels `[N, …]`.

    A scene depends only on the set, `seed` and its number. Scenes are generated once and kept in
    `CACHE`; a change of the code of the generators generates them again.
    """

    def fits(arrays: Sequence[np.ndarray]) -> bool:
        image, labels = arrays
        kinds = image.dtype == labels.dtype == np.uint8
        return kinds and image.shape == (*labels.shape, 3) and labels.shape[:1] == (count,)

    path = cache_file(name, count, seed)
    return Scene(
        *read_or_compute(
            path,
            ('image', 'labels'),
            lambda: _generate(name, count, seed, progress),
            fits,
            MAX_BYTES,
        )
    )


def _generate(name: SceneSet, count: int, seed: int, progress: bool) -> list[np.ndarray]:
    bar = Bar(f'scenes {name}', count) if progress else None
    made = []
    for number in range(count):
        made.append(GENERATORS[name](np.random.default_rng((seed, number))))
        if bar is not None:
            bar.advance(1)
    if bar is not None:
        bar.close()
    return [np.stack(part) for part in zip(*made, strict=True)]


def cache_file(name: SceneSet, count: int, seed: int) -> Path:
    """Return the file that keeps the scenes of a set."""
    return CACHE / f'{name}_{count}_{seed}_{_version()}.npz'


def _version() -> str:
    """Return a short hash of the source of the generators."""
    modules = (scene, tetrominoes, sprites, rendered, moving)
    source = ''.join(inspect.getsource(module) for module in modules)
    return hashlib.sha256(source.encode()).hexdigest()[:12]
