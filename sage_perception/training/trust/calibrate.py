# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of the trust estimates of a model on its training data.

The estimates are fitted to the files that the model was trained on and evaluated on held-out
files. The margin is fitted by leaving out parts of the training files in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sage_perception.models import Codec
from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data.crops import Stills
from sage_perception.training.data.files import CLIP_SUFFIXES, IMAGE_SUFFIXES, training_files
from sage_perception.training.latents import encode_crops
from sage_perception.training.losses.images import MS_SSIM_MIN_SIDE_PX
from sage_perception.training.trust.conformal import cross_conformal_margin
from sage_perception.training.trust.observations import (
    Observations,
    observe_clips,
    observe_stills,
)
from sage_perception.training.trust.quality_map import figures, fit_quality_map
from sage_perception.training.trust.views import fit_similarity_weights, two_views
from sage_perception.trust.fitted import FittedTrust
from sage_perception.trust.quality import QualityMap

STILLS = 1500
"""Number of crops of all images."""
VIEWS = 2500
"""Number of crops with two views."""
FOLDS = 5
"""Number of parts of the images, each of which is left out once."""


def observe_files(
    codec: Codec, data: DataConfig, held_out: bool, clips: Sequence[Observations]
) -> dict[str, Observations]:
    """Return the observations of the files to train on, or of those held out, by kind.

    The kinds are `stills` and `motion`; `clips` are the observations of the clips. Raises
    `ConfigError` if there are neither images nor clips.
    """
    kinds = {}
    if images := training_files(data, IMAGE_SUFFIXES, held_out):
        kinds['stills'] = observe_stills(codec, Stills(images), STILLS, seed=1 + held_out)
    if clips:
        kinds['motion'] = Observations.concatenate(clips)
    if not kinds:
        which = 'data.held_out matches no image or clip' if held_out else 'has no image or clip'
        raise ConfigError(f'{data.root}: {which} to measure the quality on')
    return kinds


def observe_folds(
    codec: Codec, data: DataConfig, clips: Sequence[Observations]
) -> dict[str, Sequence[Observations]]:
    """Return the observations of the files to train on in parts that share no file, by kind.

    Stills have up to `FOLDS` parts of consecutive files, which were often taken together; motion
    has one part per clip. Raises `ConfigError` for fewer than two parts.
    """
    images = training_files(data, IMAGE_SUFFIXES, held_out=False)
    count = min(FOLDS, len(images))
    stills = [
        observe_stills(codec, Stills([images[n] for n in some]), STILLS // count, seed=10 + part)
        for part, some in enumerate(np.array_split(np.arange(len(images)), count or 1))
        if len(some)
    ]
    if len(stills) + len(clips) < 2:
        raise ConfigError(f'{data.root}: the margin of trust needs at least two images or clips')
    return {kind: parts for kind, parts in (('stills', stills), ('motion', clips)) if parts}


def calibrate_quality(codec: Codec, data: DataConfig) -> tuple[QualityMap, dict[str, Any]]:
    """Return the quality map of a model, and its figures on held-out files.

    Raises `ConfigError`, or `ValueError` for a model whose input is too small for MS-SSIM.
    """
    if codec.input_size < MS_SSIM_MIN_SIDE_PX:
        raise ValueError(
            f'{codec.id} has an input of {codec.input_size} pixels: MS-SSIM needs at least '
            f'{MS_SSIM_MIN_SIDE_PX}'
        )
    known, new = (
        observe_clips(codec, training_files(data, CLIP_SUFFIXES, held_out))
        for held_out in (False, True)
    )
    fitted = observe_files(codec, data, False, known)
    held_out = observe_files(codec, data, True, new)
    margin = cross_conformal_margin(observe_folds(codec, data, known))
    quality = replace(fit_quality_map(list(fitted.values())), margin=margin)
    return quality, {
        'model': str(codec.id),
        'fitted_on': sum(map(len, fitted.values())),
        'margin': round(margin, 4),
        **{kind: figures(quality, seen) for kind, seen in held_out.items()},
    }


def calibrate_weights(codec: Codec, data: DataConfig) -> np.ndarray:
    """Return the similarity weights of a model, float64 `[D]`; see `fit_similarity_weights`.

    Raises `ConfigError` if there are no images to train on.
    """
    images = training_files(data, IMAGE_SUFFIXES, held_out=False)
    if not images:
        raise ConfigError(f'{data.root}: similarity weights need images, and there are none')
    views = two_views(Stills(images), codec.input_size, VIEWS, seed=3)
    return fit_similarity_weights(*(encode_crops(codec, crops) for crops in views))


def calibrate_trust(codec: Codec, data: DataConfig) -> tuple[FittedTrust, dict[str, Any]]:
    """Return all trust estimates of a model, and the figures of its quality map.

    Raises `ConfigError` and `ValueError` as `calibrate_quality` and `calibrate_weights` do.
    """
    weights = calibrate_weights(codec, data)
    quality, report = calibrate_quality(codec, data)
    return FittedTrust(codec.id.fingerprint.hex(), quality, tuple(weights.tolist())), report
