# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure models on crops of images and clips beside the baselines: `sage eval tinyvae …`."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.evaluation.baselines import read_components
from sage_perception.evaluation.comparison import Comparison
from sage_perception.evaluation.linear_probe import labelled, probe
from sage_perception.evaluation.scores import Tree, joined, means
from sage_perception.models import Codec, ModelError, load_codec
from sage_perception.reports import rate_distortion as rate_plot
from sage_perception.reports import tables as report
from sage_perception.training.config import ConfigError, DataConfig, read_config
from sage_perception.training.data import bags
from sage_perception.training.data.crops import (
    CLIPS,
    IMAGES,
    Clips,
    CropConfig,
    Mixture,
    Stills,
    sources,
    wanted_by,
)
from sage_perception.training.losses import perceptual

BATCH = 32  # larger ones leave the cache and take twice as long a crop
ACTIVE = 0.01  # variance of a dimension's mean that makes it active (Burda et al., 2015)
SEED = 0


def kinds_of(data: Path, wanted: Callable[[Path], bool]) -> dict[str, Stills | Clips]:
    """Return what is wanted at `data`, a folder or one file: `'stills'`, `'motion'` or both.

    Raises `ConfigError` if that is nothing.
    """
    if not data.is_file():
        return sources(data, wanted)
    suffix = data.suffix.lower()
    if suffix not in IMAGES | CLIPS | bags.FILES:
        known = ', '.join(sorted(IMAGES | CLIPS | bags.FILES))
        raise ValueError(f'{data} is neither an image nor a clip nor a bag: {known}')
    if not wanted(data):
        raise ConfigError(f'{data} is not to be used')
    return {'stills': Stills([data])} if suffix in IMAGES else {'motion': Clips([data])}


def evaluate(
    codec: Codec,
    kinds: dict[str, Stills | Clips],
    config: CropConfig,
    crops: int,
    rates: bool = False,
) -> dict:
    """Return the report of a model on `crops` crops of each kind, cut as `config` says.

    Figures are means over all crops at the top, and of each kind of crop under `sets`; with
    `rates` the curves of `Comparison` are among them.
    """
    comparison = Comparison(codec, read_components(codec), rates)
    measured = {}
    active = {}
    for kind, source in kinds.items():
        images = Mixture((source,), (1,), config).sample(crops, SEED)
        first = len(comparison.latents)
        batches = range(0, crops, BATCH)
        measured[kind] = joined(
            [
                comparison.measure(images[start : start + BATCH])
                for start in tqdm(batches, f'{codec.id.name} on {kind}', disable=None)
            ]
        )
        active[kind] = active_dims(comparison.latents[first:])
    everything = joined(list(measured.values()))
    return {
        'model': str(codec.id),
        'backend': codec.backend,
        'protocol': protocol(config),
        'params': codec.parameters,
        'dims': comparison.latents[0].shape[1],
        'crop': codec.input_size,
        **figures(everything, active_dims(comparison.latents)),
        'latency_ms_b1': latency_ms(codec),
        'sets': {kind: figures(scores, active[kind]) for kind, scores in measured.items()},
    }


def protocol(config: CropConfig) -> str:
    """Return how crops are cut, in a word or two."""
    if config.whole:
        return 'whole-image'
    return 'native' if config.native else 'multi-scale'


def figures(scores: Tree, active: int) -> dict:
    """Return the means of per-crop scores, and what is no mean over crops."""
    return {'crops': len(scores['psnr']), **means(scores), 'active_dims': active}


def active_dims(latents: Sequence[np.ndarray]) -> int:
    """Return how many dimensions differ between crops."""
    return int((np.concatenate(latents).var(0) > ACTIVE).sum())


def latency_ms(codec: Codec, runs: int = 200) -> dict[str, float]:
    """Return median times of one call for one image, milliseconds."""
    x = np.full((1, codec.input_channels, codec.input_size, codec.input_size), 0.5, np.float32)
    z = codec.encode(x)

    def median(call):
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return round(1e3 * float(np.median(times)), 3)

    return {'encode': median(lambda: codec.encode(x)), 'decode': median(lambda: codec.decode(z))}


def count(text: str) -> int:
    """Read an option that is a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'{text!r} is not a whole number of 1 or more')
    return int(text)


def parse(argv: Sequence[str] | None) -> Namespace:
    """Return the options of `sage eval`."""
    parser = Parser(prog='sage eval', description=__doc__)
    parser.add_argument('models', nargs='+', metavar='MODEL', help='name or folder of a model')
    parser.add_argument(
        '--data',
        type=Path,
        required=True,
        help='folder of images, clips and bags, or one of them',
    )
    parser.add_argument(
        '--held-out',
        type=Path,
        metavar='CONFIG',
        help='use only the files that this training configuration kept apart',
    )
    parser.add_argument(
        '--crops', type=count, default=1000, metavar='N', help='of each kind (1000)'
    )
    parser.add_argument(
        '--crop',
        type=count,
        metavar='PIXELS',
        help='side of the crops that the figures are for; refused if a model takes another one',
    )
    parser.add_argument('--native', action='store_true', help='cut at native scale only')
    parser.add_argument(
        '--probe',
        type=Path,
        metavar='DIR',
        help='folder with a folder of images a class: accuracy of a linear classifier',
    )
    parser.add_argument(
        '--plot', type=Path, metavar='FILE.png', help='draw quality over bytes, and report it'
    )
    parser.add_argument('--backend', default='auto', help='auto, torch or onnxruntime')
    parser.add_argument(
        '--json', action='store_true', help='print one JSON object, a list of several models'
    )
    return parser.parse_args(argv)


def reports(args: Namespace) -> list[dict]:
    """Return the reports of all models that were asked for."""
    held_out: DataConfig | None = read_config(args.held_out).data if args.held_out else None
    wanted = wanted_by(held_out, True) if held_out else lambda _: True
    codecs = [load_codec(model, backend=args.backend) for model in args.models]
    for codec in codecs:
        if args.crop not in (None, codec.input_size):
            raise ModelError(
                f'--crop {args.crop}: {codec.id.name} takes crops of {codec.input_size} pixels'
            )
    if args.plot:
        rate_plot.check(codecs, args.plot)
    if args.probe:
        labelled(args.probe)  # for what it raises: before the long part, as the figure's path
    try:
        kinds = kinds_of(args.data, wanted)
    except ConfigError as error:
        if held_out is None:
            raise
        raise ConfigError(
            f'{args.data}: --held-out {args.held_out} keeps nothing of it apart, '
            'see data.held_out and data.exclude there'
        ) from error
    done = []
    for codec in codecs:
        config = CropConfig(codec.input_size, native=args.native)
        if held_out is not None:
            config = replace(config, smallest=held_out.smallest, whole=held_out.whole)
        result = evaluate(codec, kinds, config, args.crops, rates=args.plot is not None)
        if args.probe:
            result['probe'] = probe(codec, read_components(codec), args.probe)
        done.append(result)
    return done


@in_one_line('sage eval')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage eval`; return the exit code."""
    args = parse(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # what latency is stated for, on either backend
    if not perceptual.installed():
        print(
            f'sage eval: no perceptual distance without its network: {perceptual.FIX}',
            file=sys.stderr,
        )
    done = reports(args)
    if args.plot:
        rate_plot.plot(done, args.plot)
    if args.json:
        print(json.dumps(done[0] if len(done) == 1 else done))
    else:
        print(report.text(done))
    return 0


if __name__ == '__main__':
    sys.exit(main())
