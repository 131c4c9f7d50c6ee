# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what learning a camera's own scene would bring a model.

`python bench/own_camera.py --clip CLIP [MODEL] [--steps N] [--json FILE]` trains a shipped model
on, encoder and decoder, with nothing but what attention cuts out of the first part of a clip. It
is judged on the last part, beside the model as it ships, the principal components that ship with
it and those of the first part itself. That bounds what better training could give a camera that
no training has seen. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from sage_perception.evaluation.baselines import Components, read_components
from sage_perception.evaluation.scores import fidelity, means
from sage_perception.models import ModelError, load_crop_codec, pca
from sage_perception.training.config import ConfigError, RunConfig, read_config
from sage_perception.training.data.clips import attended_frames, clip_frames
from sage_perception.training.data.crops import Clips, CropConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture
from sage_perception.training.data.stream import CropDataModule, augmented_crops
from sage_perception.training.loop import run_loop
from sage_perception.training.runs import CHECKPOINT, load_run
from sage_perception.training.tasks.vae_module import VaeModule

SEEN = (0.0, 0.6)  # the shares of the clip that are trained and judged on; the gap between them
JUDGED = (0.65, 1.0)  # keeps those who walk through both out
EPOCHS = 10


def frames_within(path: Path, first: int, last: int) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the frames `first … last` of a clip with their stamps in seconds."""
    return islice(clip_frames(path), first, last)


def part(path: Path, count: int, share: tuple[float, float], crops: CropConfig) -> Mixture:
    """Return the crops of a part of a clip of `count` frames."""
    first, last = (round(end * count) for end in share)
    clips = Clips([])
    clips.clips = [attended_frames(partial(frames_within, path, first, last))]
    if not clips.clips[0]:
        raise ValueError(f'{path}: attention finds nothing that moves in frames {first} to {last}')
    return Mixture((clips,), (1,), crops)


def trained_on(config: RunConfig, model: str, seen: Mixture, judged: Mixture, out: Path):
    """Return the network of `model` after it was trained on with the crops `seen`."""
    if (out / CHECKPOINT).exists():
        network = load_run(config, out)
    else:
        network = load_crop_codec(model, backend='torch', device='cpu').module
    out.mkdir(parents=True, exist_ok=True)
    module = VaeModule(network.train(), config.training)
    data = CropDataModule(seen, judged, config.model.input_channels, config.training)
    return run_loop(config, module, data, out).model.eval()


def measure(config: RunConfig, model: str, clip: Path, crops: int, out: Path) -> dict:
    """Return the figures by name of what was reconstructed how."""
    size, smallest = config.model.img_size, config.data.smallest
    count = sum(1 for _ in clip_frames(clip))
    seen = part(clip, count, SEEN, CropConfig(size, smallest, loose=True))
    judged = part(clip, count, JUDGED, CropConfig(size, smallest))
    codec = load_crop_codec(model, backend='onnxruntime')
    x = to_model(judged.sample(crops, seed=0), config.model.input_channels)
    examples = augmented_crops(seen, config)
    own = Components(pca.fit(examples, codec.latent_dim), codec.input_channels, size)
    learned = trained_on(config, model, seen, judged, out)
    with torch.inference_mode():
        images = {
            'components that ship': read_components(codec).reconstruct(x, codec.latent_dim),
            "the camera's own components": own.reconstruct(x, codec.latent_dim),
            f'{codec.id.name} as it ships': codec.decode(codec.encode(x)),
            f'{codec.id.name} trained on here': learned.reconstruct(torch.from_numpy(x)).numpy(),
        }
    return {name: means(fidelity(y, x)) for name, y in images.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('model', nargs='?', default='tinyvae')
    parser.add_argument('--clip', type=Path, required=True, help='of a camera that stands still')
    parser.add_argument('--config', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--steps', type=int, default=3000, help='of training on the clip (3000)')
    parser.add_argument('--crops', type=int, default=400, help='to judge on (400)')
    parser.add_argument('--runs', type=Path, default=Path('out/bench/own_camera'))
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        config = read_config(args.config)
        training = replace(
            config.training,
            steps=args.steps,
            epoch=args.steps // EPOCHS,
            squared_first=False,  # it has learned long since what that is for
            ema=0.998,
        )
        config = replace(config, training=training)
        # A folder for each: what has another clip or length is no run to go on with.
        run = args.runs / f'{Path(args.model).name}_{args.clip.stem}_{args.steps}_steps'
        figures = measure(config, args.model, args.clip, args.crops, run)
    except (ConfigError, ModelError, FileNotFoundError, ValueError) as error:
        print(f'bench/own_camera.py: {error}', file=sys.stderr)
        return 2
    print(f'{args.clip}, its last part; {args.steps} steps on its first part')
    print(f'{"":32}{"PSNR dB":>9}{"SSIM":>8}{"MS-SSIM":>9}')
    for name, row in figures.items():
        print(f'{name:32}{row["psnr"]:9.2f}{row["ssim"]:8.4f}{row["ms_ssim"]:9.4f}')
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({'steps': args.steps, **figures}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
