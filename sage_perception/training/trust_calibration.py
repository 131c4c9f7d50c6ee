# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit what tells how far a model's latents can be trusted: `sage calibrate-trust MODEL CONFIG`.

Writes `trust.json` beside the model (`sage_perception.trust.fitted`): fitted on files that the
model was trained on, and checked on those held out.

The margin of the map is set on files left out of it in turn, all of them files to train on.

The map of quality: images give crops whose error was just measured; clips go through our own
attention, and the error is the last one that the encoder node would have measured of the same
track. The weights of similarity: crops are cut once more as another camera would see them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.optimize import isotonic_regression, lsq_linear
from scipy.stats import spearmanr

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.models import Codec, load_crop_codec
from sage_perception.pipeline.error_sampler import ErrorSampler
from sage_perception.training.config import ConfigError, DataConfig, read_config
from sage_perception.training.data.crops import (
    CLIPS,
    FLAT,
    IMAGES,
    CropConfig,
    Mixture,
    Stills,
    clip_frames,
    find,
    log_uniform,
    to_model,
    wanted_by,
)
from sage_perception.training.losses import images as losses
from sage_perception.trust.fitted import FittedTrust
from sage_perception.trust.quality import NEGLIGIBLE, QualityMap, distance, variance
from sage_perception.vision.attention import MotionAttention

MIN_SIDE_PX = 48  # pixels of a side that MS-SSIM takes at least
STILLS, FRAMES = 1500, 400  # crops of all images, frames of each clip
EVERY = 4  # frames of a clip between two that are kept
MEASURED_EVERY = 3  # frames, as the encoder node does by default
NOISY = 0.1  # share of the images that get noise, so that bad latents are known as well
NOISE = (0.02, 1.0)  # its standard deviation, pixels in [0, 1]
POINTS = 33  # of the isotonic map
COVERED = 0.9  # share of images whose quality the lower bound holds for
FOLDS = 5  # in which images are left out
BINS = 10  # of the expected calibration error
VIEWS = 2500  # crops that are seen twice
# How much two views differ: place and shape as shares of the side, brightness, color, offset.
SHIFT, ZOOM, SHEAR, GAIN, TINT, OFFSET = 0.15, 1.25, 0.12, 0.25, 0.07, 15.0


@dataclass(frozen=True, eq=False)
class Observations:
    """What is known when a latent is encoded, and the quality it then had; all `[N]`."""

    error: np.ndarray
    variance: np.ndarray
    distance: np.ndarray
    quality: np.ndarray

    def __len__(self):
        return len(self.error)

    def __getitem__(self, index) -> Observations:
        return Observations(*(value[index] for value in vars(self).values()))

    @classmethod
    def joined(cls, parts: Sequence[Observations]) -> Observations:
        """Return several as one."""
        return cls(*map(np.concatenate, zip(*(vars(p).values() for p in parts), strict=True)))


def observe(codec: Codec, x: np.ndarray, z: np.ndarray, error: np.ndarray) -> Observations:
    """Return what is to be observed of latents `z` of images `x` `[B, C, S, S]`."""
    a, b = (torch.from_numpy(np.ascontiguousarray(p)) for p in (codec.decode(z), x))
    return Observations(
        error,
        variance(x),
        distance(z, codec.latent_mean, codec.latent_std),
        losses.ms_ssim(a, b).double().numpy(),
    )


def observe_stills(codec: Codec, stills: Stills, count: int, seed: int) -> Observations:
    """Return observations of crops of images, some of them with noise."""
    crops = Mixture((stills,), (1.0,), CropConfig(codec.input_size)).sample(count, seed)
    rng = np.random.default_rng(seed)
    parts = []
    for some in np.array_split(crops, -(-count // 64)):
        x = to_model(some, codec.input_channels)
        sigma = np.exp(rng.uniform(*np.log(NOISE), len(x))) * (rng.random(len(x)) < NOISY)
        noise = rng.standard_normal(x.shape) * sigma[:, None, None, None]
        x = (x + noise).clip(0, 1).astype(np.float32)
        z = codec.encode(x)
        parts.append(observe(codec, x, z, np.square(codec.decode(z) - x).mean((1, 2, 3))))
    return Observations.joined(parts)


def observe_clip(codec: Codec, path: Path) -> Iterator[Observations]:
    """Yield observations of what attention cuts out of a clip, a frame at a time."""
    attention, memory = MotionAttention(), ErrorSampler(MEASURED_EVERY)
    for number, (image, stamp_s) in enumerate(clip_frames(path)):
        if number >= FRAMES:
            return
        crops = attention.attend(image, stamp_s)
        if not crops:
            continue
        x = to_model(np.stack([crop.image for crop in crops]), codec.input_channels)
        z = codec.encode(x)
        tracks = [crop.track_id for crop in crops]
        error = memory.measure(tracks, x, lambda due, z=z: codec.decode(z[due]))
        if number % EVERY == 0:
            yield observe(codec, x, z, error)


def two_views(stills: Stills, size: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return crops, and the same things from another place: uint8 RGB `[count, S, S, 3]` both.

    A stand-in for two cameras, of which there is little footage: moved, scaled, sheared, exposed
    and tinted otherwise.
    """
    rng = np.random.default_rng(seed)
    firsts, seconds = [], []
    while len(firsts) < count:
        picture = stills.pictures[rng.integers(len(stills))]
        most = 0.8 * min(picture.shape)
        side = log_uniform(rng, CropConfig().smallest, most)
        x, y = (rng.uniform(0, length - side) for length in picture.shape[::-1])
        first = picture.cut(x, y, side, size)
        if first.std() < FLAT:
            continue
        other = side * log_uniform(rng, 1 / ZOOM, ZOOM)
        center = np.array([x, y]) + side / 2 + rng.uniform(-SHIFT, SHIFT, 2) * side
        second = picture.cut(*(center - other / 2), other, size)
        shape = np.eye(2) + rng.uniform(-SHEAR, SHEAR, (2, 2))
        middle = np.full(2, size / 2)
        affine = np.column_stack([shape, middle - shape @ middle])
        second = cv2.warpAffine(second, affine, (size, size), borderMode=cv2.BORDER_REFLECT)
        gain = rng.uniform(1 - GAIN, 1 + GAIN) * rng.uniform(1 - TINT, 1 + TINT, 3)
        second = second * gain + rng.uniform(-OFFSET, OFFSET)
        firsts.append(first)
        seconds.append(second.clip(0, 255).astype(np.uint8))
    return np.stack(firsts), np.stack(seconds)


def fit_weights(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return what each dimension is worth for telling things apart, float64 `[D]`, above 0.

    `a` and `b` `[N, D]` are latents of the same things seen twice. The variance of a dimension is
    t in all, w of it between two views of one thing. The squared weight is 1/w - 1/t: so much does
    a squared difference speak against the same thing and for another one, if both are Gaussian
    (the log-likelihood ratio of probabilistic linear discriminant analysis, Ioffe, 2006, for
    independent dimensions). The mean of the squares is 1.
    """
    within = np.maximum(np.square(a - b, dtype=np.float64).mean(0) / 2, 1e-12)
    total = np.concatenate([a, b]).astype(np.float64).var(0)
    squares = np.maximum(1 / within - 1 / np.maximum(total, 1e-12), 1e-3 / within)
    return np.sqrt(squares / squares.mean())


def files_of(data: DataConfig, suffixes: set[str], held_out: bool) -> list[Path]:
    """Return the files to train on, or those held out."""
    return list(filter(wanted_by(data, held_out), find(Path(data.root), suffixes)))


def observe_clips(codec: Codec, data: DataConfig, held_out: bool) -> list[Observations]:
    """Return observations of each clip to train on, or of each held out, where something moves."""
    clips = (list(observe_clip(codec, path)) for path in files_of(data, CLIPS, held_out))
    return [Observations.joined(seen) for seen in clips if seen]


def gather(
    codec: Codec, data: DataConfig, held_out: bool, clips: Sequence[Observations]
) -> dict[str, Observations]:
    """Return observations of the files to train on, or of those held out: stills and motion."""
    kinds = {}
    if pictures := files_of(data, IMAGES, held_out):
        kinds['stills'] = observe_stills(codec, Stills(pictures), STILLS, seed=1 + held_out)
    if clips:
        kinds['motion'] = Observations.joined(clips)
    if not kinds:
        which = 'data.held_out fits' if held_out else 'there is'
        raise ConfigError(f'{data.root}: {which} no image or clip to measure on')
    return kinds


def gather_apart(
    codec: Codec, data: DataConfig, clips: Sequence[Observations]
) -> dict[str, Sequence[Observations]]:
    """Return observations of the files to train on, in parts that share no file.

    Stills are in `FOLDS` parts, images that came together in the same one; motion by clip.
    """
    pictures = files_of(data, IMAGES, held_out=False)
    count = min(FOLDS, len(pictures))
    stills = [
        observe_stills(codec, Stills([pictures[n] for n in some]), STILLS // count, seed=10 + part)
        for part, some in enumerate(np.array_split(np.arange(len(pictures)), count or 1))
        if len(some)
    ]
    if len(stills) + len(clips) < 2:
        raise ConfigError(f'{data.root}: to set the margin of trust takes two images or clips')
    return {kind: parts for kind, parts in (('stills', stills), ('motion', clips)) if parts}


def fit(kinds: Sequence[Observations]) -> QualityMap:
    """Fit a map, without its margin, each kind of observations having the same weight."""
    seen = Observations.joined(kinds)
    weight = np.concatenate([np.full(len(kind), 1 / len(kind)) for kind in kinds])
    columns = [np.log(value + NEGLIGIBLE) for value in (seen.error, seen.variance)]
    design = np.stack([*columns, np.ones(len(seen))], 1)
    quality = seen.quality.clip(0.005, 0.995)
    root = np.sqrt(weight)
    solution = lsq_linear(
        design * root[:, None],
        np.log(quality / (1 - quality)) * root,
        bounds=([-np.inf, 0, -np.inf], [0, np.inf, np.inf]),
    ).x
    score = design[:, :2] @ solution[:2]
    order = np.argsort(score, kind='stable')
    steps = isotonic_regression(seen.quality[order], weights=weight[order]).x
    # Points at equal shares of the scores, each the mean of its neighborhood: no steps.
    scores, qualities = (
        np.array([part.mean() for part in np.array_split(values, min(POINTS, len(values)))])
        for values in (score[order], steps)
    )
    return QualityMap(
        error=float(solution[0]),
        variance=float(solution[1]),
        scores=tuple(scores.tolist()),
        qualities=tuple(qualities.clip(0, 1).tolist()),
        farthest=float(seen.distance.max()),
        margin=0.0,
    )


def trusts(quality: QualityMap, seen: Observations) -> np.ndarray:
    """Return the trust that the map gives."""
    return quality.trust(seen.error, seen.variance, seen.distance)


def conformal_margin(excess: np.ndarray) -> float:
    """Return what the next `excess` of trust over quality is at most, with chance `COVERED`.

    That of conformal prediction (Papadopoulos et al., 2002): it holds for images drawn like
    those of `excess` `[N]`, none of which the map was fitted on.
    """
    rank = int(np.ceil((len(excess) + 1) * COVERED))
    return max(float(np.sort(excess)[min(rank, len(excess)) - 1]), 0.0)


def cross_conformal_margin(parts: Mapping[str, Sequence[Observations]]) -> float:
    """Return the margin for files that are new, the larger one of both kinds.

    Each part is judged by the map of all others (cross-conformal prediction, Vovk, 2015). Parts
    share no file: crops of one image are alike, and say little of another image.
    """
    margins = []
    for kind, own in parts.items():
        excess = []
        for n, part in enumerate(own):
            others = {**parts, kind: [*own[:n], *own[n + 1 :]]}
            quality = fit([Observations.joined(some) for some in others.values() if some])
            excess.append(trusts(quality, part) - part.quality)
        margins.append(conformal_margin(np.concatenate(excess)))
    return max(margins)


def calibration_error(trust: np.ndarray, quality: np.ndarray) -> float:
    """Return the expected calibration error: mean |trust - quality| of bins, by their share."""
    place = np.minimum((trust * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, trust - quality, BINS)
    return float(np.abs(gaps).sum() / len(trust))


def figures(quality: QualityMap, seen: Observations) -> dict[str, float]:
    """Return how well trust tells quality."""
    trust = trusts(quality, seen)
    return {
        'crops': len(seen),
        'spearman': round(float(spearmanr(trust, seen.quality).statistic), 4),
        'calibration_error': round(calibration_error(trust, seen.quality), 4),
        'within_margin': round(float((seen.quality >= trust - quality.margin).mean()), 4),
        'median_quality': round(float(np.median(seen.quality)), 4),
        'median_trust': round(float(np.median(trust)), 4),
    }


def fit_quality(codec: Codec, data: DataConfig) -> tuple[QualityMap, dict]:
    """Return the map of a model, and figures on held-out files; `ConfigError`, `ValueError`."""
    if codec.input_size < MIN_SIDE_PX:
        raise ValueError(
            f'{codec.id} reads {codec.input_size} pixels: MS-SSIM takes {MIN_SIDE_PX} and more'
        )
    known, new = (observe_clips(codec, data, apart) for apart in (False, True))
    fitted = gather(codec, data, False, known)
    held_out = gather(codec, data, True, new)
    margin = cross_conformal_margin(gather_apart(codec, data, known))
    quality = replace(fit(list(fitted.values())), margin=margin)
    return quality, {
        'model': str(codec.id),
        'fitted_on': sum(map(len, fitted.values())),
        'margin': round(margin, 4),
        **{kind: figures(quality, seen) for kind, seen in held_out.items()},
    }


def fit_model(codec: Codec, data: DataConfig) -> tuple[FittedTrust, dict]:
    """Return all that is fitted to a model, and figures; `ConfigError`, `ValueError`."""
    pictures = files_of(data, IMAGES, held_out=False)
    if not pictures:
        raise ConfigError(f'{data.root}: without images there are no two views to compare')
    quality, report = fit_quality(codec, data)
    stills = Stills(pictures)
    views = (
        encode(codec, to_model(crops, codec.input_channels))
        for crops in two_views(stills, codec.input_size, VIEWS, seed=3)
    )
    weights = fit_weights(*views)
    return FittedTrust(codec.id.fingerprint.hex(), quality, tuple(weights.tolist())), report


def encode(codec: Codec, x: np.ndarray) -> np.ndarray:
    """Return latents `[N, D]` of images `[N, C, S, S]`, with little memory."""
    return np.concatenate([codec.encode(part) for part in np.array_split(x, -(-len(x) // 64))])


@in_one_line('sage calibrate-trust')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage calibrate-trust`; return the exit code."""
    parser = Parser(
        prog='sage calibrate-trust',
        description='Fit what tells how far latents of a model can be trusted.',
    )
    parser.add_argument('model', help='name or folder of the model')
    parser.add_argument('config', type=Path, help='the configuration that it was trained with')
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    data = read_config(args.config).data
    codec = load_crop_codec(args.model)
    fitted, report = fit_model(codec, data)
    path = fitted.write(codec.artifact.path)
    print(json.dumps({**report, 'file': str(path)}, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
