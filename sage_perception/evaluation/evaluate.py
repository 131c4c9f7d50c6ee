# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate models on crops of images and clips, beside baselines and image codecs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from sage_perception.core.progress import track
from sage_perception.evaluation.baselines import read_components
from sage_perception.evaluation.comparison import Comparison
from sage_perception.evaluation.linear_probe import labeled_images, probe
from sage_perception.evaluation.scores import Scores, concatenated, means
from sage_perception.models import Codec, ModelError, load_codec
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.bags import is_bag
from sage_perception.training.data.crops import Clips, CropConfig, CropSource, Stills
from sage_perception.training.data.files import (
    CLIP_SUFFIXES,
    IMAGE_SUFFIXES,
    FileFilter,
    any_file,
    file_filter,
)
from sage_perception.training.data.mixture import Mixture, crop_sources

BATCH = 32
"""Crops per batch; larger batches exceed the cache and take twice as long per crop."""
ACTIVE_VARIANCE = 0.01
"""Variance of the mean above which a dimension is active (Burda et al., 2015)."""
LATENCY_RUNS = 200
SEED = 0

Report = dict[str, Any]


def load_models(
    names: Sequence[str], backend: str = 'auto', size: int | None = None
) -> list[Codec]:
    """Return the models of images with these names or folders.

    Raises `ModelError`, also if `size` is given and the crops of a model have another side.
    """
    codecs = [load_codec(name, backend=backend) for name in names]
    for codec in codecs:
        if size not in (None, codec.input_size):
            raise ModelError(
                f'{codec.id.name} takes crops of {codec.input_size} pixels, not of {size}'
            )
    return codecs


def evaluate_models(
    codecs: Sequence[Codec],
    data: Path,
    crops: int = 1000,
    held_out: Path | None = None,
    native: bool = False,
    probe_data: Path | None = None,
    rates: bool = False,
) -> list[Report]:
    """Return the reports of models on the same `crops` crops of each kind.

    `data` is a folder or a file; with `held_out`, a training configuration, only the files that it
    holds out are used, cut as in that training. `native` cuts without scaling. `probe_data` is a
    folder for the linear probe. Torch and OpenCV are set to one thread, for which latencies are
    reported. Raises `ConfigError`, `FileNotFoundError` and `ValueError`.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    config = read_config(held_out).data if held_out else None
    if probe_data:
        labeled_images(probe_data)  # raises before the long part
    try:
        sources = sources_at(data, file_filter(config, held_out=True) if config else any_file)
    except ConfigError as error:
        if held_out is None:
            raise
        raise ConfigError(
            f'{data}: {held_out} holds none of it out, see data.held_out and data.exclude there'
        ) from error
    reports = []
    for codec in codecs:
        cut = CropConfig(codec.input_size, native=native)
        if config is not None:
            cut = replace(cut, smallest=config.smallest, whole=config.whole)
        report = evaluate(codec, sources, cut, crops, rates)
        if probe_data:
            report['probe'] = probe(codec, read_components(codec), probe_data)
        reports.append(report)
    return reports


def sources_at(data: Path, selected: FileFilter = any_file) -> dict[str, CropSource]:
    """Return the crop sources of a folder or a file: `'stills'`, `'motion'` or both.

    Raises `ConfigError` if no file is selected, and `ValueError` for a file of another type.
    """
    if not data.is_file():
        return crop_sources(data, selected)
    suffix = data.suffix.lower()
    known = IMAGE_SUFFIXES | CLIP_SUFFIXES
    if suffix not in known and not is_bag(data):
        suffixes = ', '.join(sorted(known | {'.db3', '.mcap'}))
        raise ValueError(f'{data} is not an image, a clip or a bag: {suffixes}')
    if not selected(data):
        raise ConfigError(f'{data} is excluded')
    return {'stills': Stills([data])} if suffix in IMAGE_SUFFIXES else {'motion': Clips([data])}


def evaluate(
    codec: Codec,
    sources: Mapping[str, CropSource],
    config: CropConfig,
    crops: int,
    rates: bool = False,
) -> Report:
    """Return the report of a model on `crops` crops of each kind of sources.

    Figures are means, at the top level over all crops and under `sets` for each kind; with `rates`
    they include the curves of `Comparison`.
    """
    comparison = Comparison(codec, read_components(codec), rates)
    scores: dict[str, Scores] = {}
    active = {}
    for kind, source in sources.items():
        images = Mixture((source,), (1,), config).sample(crops, SEED)
        first = len(comparison.latents)
        batches = range(0, crops, BATCH)
        scores[kind] = concatenated(
            [
                comparison.measure(images[start : start + BATCH])
                for start in track(batches, f'{codec.id.name} on {kind}')
            ]
        )
        active[kind] = active_dims(comparison.latents[first:])
    return {
        'model': str(codec.id),
        'backend': codec.backend,
        'protocol': protocol(config),
        'params': codec.parameters,
        'dims': comparison.latents[0].shape[1],
        'crop': codec.input_size,
        **figures(concatenated(list(scores.values())), active_dims(comparison.latents)),
        'latency_ms_b1': latency_ms(codec),
        'sets': {kind: figures(each, active[kind]) for kind, each in scores.items()},
    }


def protocol(config: CropConfig) -> str:
    """Return a name for the way crops are cut."""
    if config.whole:
        return 'whole-image'
    return 'native' if config.native else 'multi-scale'


def figures(scores: Scores, active: int) -> Report:
    """Return the number of crops, the means of their scores and the active dimensions."""
    return {'crops': len(scores['psnr']), **means(scores), 'active_dims': active}


def active_dims(latents: Sequence[np.ndarray]) -> int:
    """Return the number of dimensions of latents `[B, D]` that vary between crops."""
    return int((np.concatenate(latents).var(0) > ACTIVE_VARIANCE).sum())


def latency_ms(codec: Codec) -> dict[str, float]:
    """Return the median time of encoding and of decoding one image, milliseconds."""
    x = np.full((1, codec.input_channels, codec.input_size, codec.input_size), 0.5, np.float32)
    z = codec.encode(x)

    def median(call: Callable[[], object]) -> float:
        times = []
        for _ in range(LATENCY_RUNS):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return round(1e3 * float(np.median(times)), 3)

    return {'encode': median(lambda: codec.encode(x)), 'decode': median(lambda: codec.decode(z))}
