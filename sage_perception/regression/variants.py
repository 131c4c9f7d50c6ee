# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Replays the same bags with several models and parameter files.

>>> results = compare_variants([Path('bag')], variants(['tinyvae', 'tinyvae_128']))
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.regression.events import Observer
from sage_perception.regression.quality import Quality
from sage_perception.regression.replay import ReplayResult, replay_bag
from sage_perception.ros.parameter_file import ParameterFile


@dataclass(frozen=True)
class Variant:
    """A model (a name or folder) and a parameter file; None for the default."""

    model: str | None = None
    parameters: Path | None = None

    @property
    def name(self) -> str:
        """Return the name of the variant in tables."""
        parts = []
        if self.model is not None:
            parts.append(Path(self.model).name)
        if self.parameters is not None:
            parts.append(self.parameters.name)
        return ' + '.join(parts) or 'default'


@dataclass(frozen=True, eq=False)
class VariantResult:
    """The replay of a bag with a variant, and the quality of its reconstructions."""

    bag: Path
    variant: Variant
    replay: ReplayResult
    quality: Quality

    def figures(self) -> dict[str, Any]:
        """Return the figures of the comparison; values that were not measured are None."""
        quality, replay = self.quality, self.replay
        frames = max(quality.frames, 1)
        stages = replay.stages_ms
        values: dict[str, Any] = {
            'psnr_db': quality.psnr_db,
            'ssim': quality.ssim,
            'bytes_per_lct': quality.size_bytes / quality.lcts if quality.lcts else math.nan,
            'bytes_per_frame': quality.size_bytes / frames,
            'trust': quality.trust,
            'similarity': quality.similarity,
            'encode_ms': stages.get('encode', math.nan),
            'total_ms': sum(stages.values()),
            'realtime_factor': replay.realtime_factor,
        }
        rounded = {k: round(v, 4) if math.isfinite(v) else None for k, v in values.items()}
        return {
            'frames': quality.frames,
            'crops': quality.crops,
            'lcts': quality.lcts,
            'matches': quality.matches,
            'agreements': quality.agreements,
            **rounded,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            'bag': str(self.bag),
            'variant': self.variant.name,
            'model': self.variant.model,
            'parameters': None
            if self.variant.parameters is None
            else str(self.variant.parameters),
            **self.figures(),
            'hashes': self.replay.summary.hashes,
        }


def variants(models: Sequence[str] = (), parameters: Sequence[Path] = ()) -> list[Variant]:
    """Return every combination of models and parameter files.

    Raises `ValueError` if fewer than two remain, or two have the same name.
    """
    names: Sequence[str | None] = models or [None]
    files: Sequence[Path | None] = parameters or [None]
    found = [Variant(model, path) for model in names for path in files]
    if len(found) < 2:
        raise ValueError('a comparison needs two models or two parameter files')
    titles = [each.name for each in found]
    twice = [name for name in titles if titles.count(name) > 1]
    if twice:
        raise ValueError(
            f'two variants are named {twice[0]!r}: give each model and each parameter file '
            'once, with distinct names'
        )
    return found


def compare_variants(
    bags: Sequence[Path],
    compared: Sequence[Variant],
    observe: Callable[[Path, Variant], Sequence[Observer]] = lambda bag, variant: (),
    progress: Callable[[Path, Variant, float], None] | None = None,
    stop: threading.Event | None = None,
) -> list[VariantResult]:
    """Replay each bag with each variant; return the results in the order of the bags.

    Args:
        bags: the bags.
        compared: the variants.
        observe: returns further observers of a replay.
        progress: called with the fraction of a replay that is done.
        stop: ends the comparison early when set; the results are then those so far.

    Raises:
        ValueError: as `replay_bag` does.
    """
    # Read all files first: an error is reported before the first replay.
    files = {each: ParameterFile(each.parameters) for each in compared}
    decoder = LatentDecoder([each.model for each in compared if each.model is not None])
    results: list[VariantResult] = []
    for bag in bags:
        for each in compared:
            if stop is not None and stop.is_set():
                return results
            quality = Quality(decoder)
            replay = replay_bag(
                bag,
                model=each.model,
                parameters=files[each],
                observers=[quality, *observe(bag, each)],
                codes=False,
                progress=_reporting(progress, bag, each),
                stop=stop,
            )
            results.append(VariantResult(bag, each, replay, quality))
    return results


def _reporting(
    progress: Callable[[Path, Variant, float], None] | None, bag: Path, variant: Variant
) -> Callable[[float, int], None] | None:
    if progress is None:
        return None
    return lambda share, frames: progress(bag, variant, share)
