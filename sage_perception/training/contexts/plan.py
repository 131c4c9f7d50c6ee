# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Plan which clips and montages to record, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from sage_perception.context.layout import LATENT_DIM
from sage_perception.core.progress import progress
from sage_perception.memory import EpisodicMemory, Space, open_store
from sage_perception.memory.feed import MIN_NOVELTY, THRESHOLD
from sage_perception.models import Codec, ModelError, load_crop_codec
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.training.contexts.recording import Recording
from sage_perception.training.contexts.scenes import Scene, clip_scene, montage_scene
from sage_perception.training.contexts.virtual_camera import draw_cameras
from sage_perception.training.data.files import CLIP_SUFFIXES, IMAGE_SUFFIXES, find_files

RECIPE = 3
"""Version of the recording procedure; change it when the same files yield different contexts."""

SECONDS = 9.0
"""Duration of a run, seconds."""
VISIT_S = 6.0
"""Duration, seconds, of the earlier visit in a run with memory; memory recalls it later."""
MEMORY_SHARE = 0.5
"""Share of the runs with a memory."""
MONTAGES = 'images'
"""Prefix of the names of montages."""
PART = 23
"""Number of images that the montages of one source use; sources share no image."""


class SceneFactory(Protocol):
    """Makes the scene of a run."""

    def __call__(self, rng: np.random.Generator, seconds: float) -> Scene:
        """Return a random scene of `seconds`."""
        ...


@dataclass(frozen=True)
class Run:
    """One run to record; `repeat` distinguishes the runs of the same source `name`."""

    name: str
    repeat: int
    scene: SceneFactory


def plan(clips: Sequence[Path], images: Sequence[Path], runs: int, montages: int) -> list[Run]:
    """Return the runs to record: each clip `runs` times, and `montages` montages of images.

    A montage uses the images of one part, so that whole parts can be held out.
    """
    planned = [
        Run(path.name, repeat, partial(clip_scene, path))
        for path in clips
        for repeat in range(runs)
    ]
    parts = max(len(images) // PART, 1)
    for part in range(parts):
        scene = partial(montage_scene, images[part::parts])
        planned += [
            Run(f'{MONTAGES} {part + 1} of {parts}', repeat, scene)
            for repeat in range(len(range(part, montages, parts)))
        ]
    return planned


def record(run: Run, codec: Codec, seed: int = 0) -> Contexts | None:
    """Record a run and return its contexts, None if nothing moves; the result is reproducible."""
    rng = np.random.default_rng([seed, run.repeat, *run.name.encode()])
    cameras, start_s = draw_cameras(rng), float(rng.uniform(1e6, 1e6 + 7 * 86_400))
    with open_store(':memory:', Space.of(codec.artifact.path)) as store:
        memory, visit_s = None, 0.0
        if rng.random() < MEMORY_SHARE:
            memory, visit_s = EpisodicMemory(store, THRESHOLD, MIN_NOVELTY), VISIT_S
        recording = Recording(codec, cameras, start_s, memory, visit_s=visit_s)
        pairs = list(recording.run(run.scene(rng, seconds=visit_s + SECONDS)))
    if not pairs:
        return None
    contexts, targets = zip(*pairs, strict=True)
    return Contexts(
        values=np.stack([context.values for context in contexts]),
        mask=np.stack([context.mask for context in contexts]),
        run=np.zeros(len(pairs), int),
        source=np.zeros(len(pairs), int),
        sources=(run.name,),
        label=np.array([target.label for target in targets]),
        track=np.array([target.track for target in targets]),
        later=np.array([target.later for target in targets], np.float32),
        stamp=np.array([context.stamp_s for context in contexts]),
        model=codec.id.fingerprint.hex(),
    )


def load_encoder(name: str) -> Codec:
    """Return the model whose latents contexts hold; raises `ModelError` for other dimensions."""
    codec = load_crop_codec(name)
    if codec.latent_dim != LATENT_DIM:
        raise ModelError(
            f'contexts hold {LATENT_DIM}-D latents, those of {codec.id} are {codec.latent_dim}-D'
        )
    return codec


def recorded(
    runs: Sequence[Run], make: Callable[[Run], Contexts | None]
) -> Iterator[Contexts | None]:
    """Yield the contexts that `make` returns for each run, and show the progress."""
    cv2.setNumThreads(1)
    with progress('recording contexts', len(runs)) as bar:
        for run in runs:
            yield make(run)
            bar.advance()


def files_of(
    places: Sequence[Path], wanted: Callable[[Path], bool] | None = None
) -> tuple[list[Path], list[Path]]:
    """Return the clips and the images among files and folders, those for which `wanted` is True.

    Raises `FileNotFoundError` for a place that does not exist.
    """
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f'{place} does not exist')

    def chosen(suffixes: set[str]) -> list[Path]:
        found: list[Path] = []
        for place in places:
            found += [place] if place.suffix.lower() in suffixes else []
            found += find_files(place, suffixes) if place.is_dir() else []
        return list(filter(wanted, found))

    return chosen(CLIP_SUFFIXES), chosen(IMAGE_SUFFIXES)
