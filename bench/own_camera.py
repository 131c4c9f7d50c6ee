# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how much a model gains from training on the scene of a camera.

`python bench/own_camera.py --clip CLIP [MODEL] [--steps N] [--out FILE]` fine-tunes the encoder
and the decoder of a shipped model on the crops of the first part of a clip. It is evaluated on the
last part, beside the shipped model, its principal components and those of the first part. This is
an upper bound for the gain of better training for a camera that is not in the training data. An
interrupted run resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from result_file import add_out, write_result

from sage_perception.evaluation.baselines import Components, read_components
from sage_perception.evaluation.scores import fidelity, means
from sage_perception.models import ModelError, load_crop_codec, pca
from sage_perception.models.networks.vae import VAE
from sage_perception.training.config import ConfigError, RunConfig, read_config
from sage_perception.training.data.clips import attended_frames
from sage_perception.training.data.crops import Clips, CropConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture
from sage_perception.training.data.stream import CropDataModule, augmented_crops
from sage_perception.training.loop import run_loop
from sage_perception.training.runs import CHECKPOINT, load_network, load_run
from sage_perception.training.tasks.vae_module import VaeModule
from sage_perception.vision.sources.video_file import clip_frames

# Shares of the clip to train and to evaluate on. The gap excludes people who are in both parts.
TRAINED = (0.0, 0.6)
EVALUATED = (0.65, 1.0)
EPOCHS = 10


def frames_within(path: Path, first: int, last: int) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the frames `first` to `last` of a clip with their stamps in seconds."""
    return islice(clip_frames(path), first, last)


def part(path: Path, count: int, share: tuple[float, float], crops: CropConfig) -> Mixture:
    """Return the crops of a part of a clip of `count` frames."""
    first, last = (round(end * count) for end in share)
    clips = Clips([])
    clips.clips = [attended_frames(partial(frames_within, path, first, last))]
    if not clips.clips[0]:
        raise ValueError(
            f'{path}: motion attention finds no moving object in frames {first} to {last}'
        )
    return Mixture((clips,), (1,), crops)


def fine_tuned(
    config: RunConfig, model: str, trained: Mixture, evaluated: Mixture, out: Path
) -> VAE:
    """Return the network of `model`, fine-tuned on the crops `trained`."""
    resumed = (out / CHECKPOINT).exists()
    network = load_run(config, out, VAE) if resumed else load_network(model)
    out.mkdir(parents=True, exist_ok=True)
    module = VaeModule(network.train(), config.training)
    data = CropDataModule(trained, evaluated, config.model.input_channels, config.training)
    return run_loop(config, module, data, out).model.eval()


def measure(config: RunConfig, model: str, clip: Path, crops: int, out: Path) -> dict:
    """Return the figures of each kind of reconstruction by name."""
    size, smallest = config.model.img_size, config.data.smallest
    count = sum(1 for _ in clip_frames(clip))
    trained = part(clip, count, TRAINED, CropConfig(size, smallest, loose=True))
    evaluated = part(clip, count, EVALUATED, CropConfig(size, smallest))
    codec = load_crop_codec(model, backend='onnxruntime')
    x = to_model(evaluated.sample(crops, seed=0), config.model.input_channels)
    examples = augmented_crops(trained, config)
    own = Components(pca.fit(examples, codec.latent_dim), codec.input_channels, size)
    learned = fine_tuned(config, model, trained, evaluated, out)
    with torch.inference_mode():
        images = {
            'shipped components': read_components(codec).reconstruct(x, codec.latent_dim),
            'components of this camera': own.reconstruct(x, codec.latent_dim),
            f'{codec.id.name} as shipped': codec.decode(codec.encode(x)),
            f'{codec.id.name} fine-tuned': learned.reconstruct(torch.from_numpy(x)).numpy(),
        }
    return {name: means(fidelity(y, x)) for name, y in images.items()}


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('model', nargs='?', default='tinyvae')
    parser.add_argument('--clip', type=Path, required=True, help='video of a static camera')
    parser.add_argument('--config', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument(
        '--steps', type=int, default=3000, help='training steps on the clip (default: 3000)'
    )
    parser.add_argument(
        '--crops', type=int, default=400, help='crops to evaluate on (default: 400)'
    )
    parser.add_argument('--runs', type=Path, default=Path('out/bench/own_camera'))
    add_out(parser, 'own_camera')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        config = read_config(args.config)
        training = replace(
            config.training,
            steps=args.steps,
            epoch=args.steps // EPOCHS,
            squared_first=False,  # only useful at the start of a training
            ema=0.998,
        )
        config = replace(config, training=training)
        # A run of another clip or length must not be resumed: it has its own folder.
        run = args.runs / f'{Path(args.model).name}_{args.clip.stem}_{args.steps}_steps'
        figures = measure(config, args.model, args.clip, args.crops, run)
    except (ConfigError, ModelError, FileNotFoundError, ValueError) as error:
        print(f'bench/own_camera.py: {error}', file=sys.stderr)
        return 2
    print(f'last part of {args.clip}; {args.steps} training steps on the first part')
    print(f'{"":32}{"PSNR dB":>9}{"SSIM":>8}{"MS-SSIM":>9}')
    for name, row in figures.items():
        print(f'{name:32}{row["psnr"]:9.2f}{row["ssim"]:8.4f}{row["ms_ssim"]:9.4f}')
    write_result(args.out, {'steps': args.steps, **figures})
    return 0


if __name__ == '__main__':
    sys.exit(main())
