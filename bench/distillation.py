# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the contribution of a teacher: `python bench/distillation.py --minutes 20`.

TinyVAE is trained with the five terms of distillation, with each of them disabled in turn, and
without a teacher, with the same seed, on the same crops and for the same CPU time, so that a
cheaper variant takes more steps. Results are written as soon as they are available and are not
measured again; an interrupted run resumes.

`--scales` instead measures the scale factors in
`sage_perception/training/tasks/distillation_module.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from result_file import add_out, show_result, write_result
from torch import Tensor

from sage_perception.evaluation.scores import Scorer, concatenated, means
from sage_perception.models import load
from sage_perception.models.networks.vae import VAE
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, mixture
from sage_perception.training.data.stream import CropDataModule, CropStream, augmented_crops
from sage_perception.training.losses import images as losses
from sage_perception.training.losses import perceptual
from sage_perception.training.runs import load_network
from sage_perception.training.tasks import task_for
from sage_perception.training.tasks.distillation import PROJECTION_CROPS
from sage_perception.training.tasks.distillation_module import (
    DistillationModule,
    softened_divergence,
)
from sage_perception.training.tasks.vae import new_network
from sage_perception.training.tasks.vae_module import VaeModule
from sage_perception.training.train import fit

CONFIG = Path('config/train/tinyvae_distilled.yaml')
CHANGES = {
    'alone': None,
    'five terms': {},
    'without reconstruction': {'reconstruction': 0.0},
    'without kl': {'kl': 0.0},
    'without latent': {'latent': 0.0},
    'without output': {'output': 0.0},
    'without perceptual': {'perceptual': 0.0},
    'temperature 1': {'temperature': 1.0},
}
MEASURES = ('psnr', 'ssim', 'ms_ssim', 'perceptual')
ROUNDS = 5  # of measuring the time of a step of each variant
EPOCHS = 10  # of a run


def variant(config: RunConfig, name: str) -> RunConfig:
    """Return the configuration of a run by its name in `CHANGES`."""
    changes = CHANGES[name]
    if changes is None:
        return replace(config, distillation=None)
    return replace(config, distillation=replace(config.distillation, **changes))


def module_of(config: RunConfig, student: VAE, teacher: VAE) -> VaeModule:
    """Return the module that trains `student`."""
    if config.distillation is None:
        return VaeModule(student, config.training)
    return DistillationModule(student, config.training, config.distillation, teacher)


class Stopwatch:
    """Measures the CPU time of early training steps, and of late ones with SSIM."""

    def __init__(self, module: VaeModule, stream: CropStream):
        self.module, self.stream = module, stream
        self.optimizer = module.configure_optimizers()['optimizer']
        self.early: list[float] = []
        self.late: list[float] = []

    def step(self, late: bool) -> None:
        """Run a training step, including the cutting of its crops."""
        training = self.module.config
        self.module.config = replace(training, ssim_from=0.0 if late else 2.0)
        start = time.process_time()
        crops = [self.stream[index] for index in range(training.batch)]
        x = torch.from_numpy(np.stack(crops)).contiguous(memory_format=torch.channels_last)
        loss = sum(self.module.terms(x, *self.module.model(x)).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        (self.late if late else self.early).append(time.process_time() - start)
        self.module.config = training

    def seconds(self) -> float:
        """Return the mean time of the steps of a run, from the medians of early and late steps."""
        share = self.module.config.ssim_from
        return share * float(np.median(self.early)) + (1 - share) * float(np.median(self.late))


def step_times(config: RunConfig, crops: Mixture, names: Sequence[str]) -> dict[str, float]:
    """Return the CPU seconds of a training step of each variant, measured in turn."""
    teacher = load_network(config.distillation.teacher)
    student = new_network(config, crops)
    stream = CropStream(crops, config.model.input_channels, 0, 0, config.training.batch)
    watches = {}
    for name in names:
        module = module_of(variant(config, name), student, teacher)
        watches[name] = Stopwatch(module.train(), stream)
    for turn in range(ROUNDS + 1):
        for watch in watches.values():
            watch.step(late=False)
            watch.step(late=True)
            if turn == 0:  # warm-up
                watch.early, watch.late = [], []
    return {name: watch.seconds() for name, watch in watches.items()}


def budgeted(config: RunConfig, seconds: float, step: float) -> RunConfig:
    """Return the configuration with as many steps as fit into CPU `seconds`.

    The weights are averaged over the same share of every run. With the decay of a long run, the
    average of a short run would still contain much of its start.
    """
    training = config.training
    epoch = max(1, round(seconds / step / EPOCHS))
    steps = EPOCHS * epoch
    ema = max(0.0, 1 - (1 - training.ema) * training.steps / steps)
    changes = {'steps': steps, 'epoch': epoch, 'warmup': min(training.warmup, epoch), 'ema': ema}
    return replace(config, training=replace(training, **changes))


def evaluation_crops(config: RunConfig, held_out: Mixture, count: int) -> dict[str, np.ndarray]:
    """Return held-out crops by kind, uint8 RGB `[count, S, S, 3]`, as `sage eval` cuts them."""
    plain = CropConfig(config.model.img_size, config.data.smallest)
    cuts = {}
    for source in held_out.sources:
        if isinstance(source, Stills):
            cuts['stills'] = (source, plain)
            cuts['native'] = (source, replace(plain, native=True))
        else:
            cuts['motion'] = (source, plain)
    return {
        kind: Mixture((source,), (1,), cut).sample(count, seed=0)
        for kind, (source, cut) in cuts.items()
    }


@torch.inference_mode()
def evaluated(model: VAE, crops: np.ndarray) -> dict[str, float]:
    """Return the mean scores of crops, uint8 RGB `[N, S, S, 3]`, as `sage eval` measures them."""
    model.eval()
    parts = []
    for start in range(0, len(crops), 32):
        x = to_model(crops[start : start + 32], model.config.input_channels)
        scores = Scorer(x)(model.reconstruct(torch.from_numpy(x)).numpy())
        parts.append({name: scores[name] for name in MEASURES})
    return means(concatenated(parts))


def measure(names: Sequence[str], config: RunConfig, args: argparse.Namespace) -> dict:
    """Train and evaluate the variants that the report lacks; return the report."""
    setting = {'minutes': args.minutes, 'teacher': config.distillation.teacher}
    report = {**setting, 'runs': {}}
    if args.out.exists():
        report = json.loads(args.out.read_text())
        for name, value in setting.items():
            if report[name] != value:
                raise SystemExit(f'{args.out} has {name} {report[name]}: move the file away')
    runs = report['runs']

    def save():
        write_result(args.out, report)

    crops = mixture(config.data, config.model.img_size)
    held_out = mixture(config.data, config.model.img_size, held_out=True)
    evaluation = evaluation_crops(config, held_out, args.crops)
    if unknown := [name for name in names if name not in runs]:
        for name, seconds in step_times(config, crops, unknown).items():
            runs[name] = {'cpu_seconds_a_step': round(seconds, 4)}
        save()
    if 'figures of the teacher' not in report:
        teacher = load_network(config.distillation.teacher)
        report['figures of the teacher'] = {
            k: evaluated(teacher, x) for k, x in evaluation.items()
        }
        save()
    for name in names:
        run = runs[name]
        if 'figures' in run:
            continue
        wanted = budgeted(variant(config, name), 60 * args.minutes, run['cpu_seconds_a_step'])
        folder = args.runs / f'{name} {wanted.training.steps} steps'.replace(' ', '_')
        start = time.process_time()
        data = CropDataModule(crops, held_out, wanted.model.input_channels, wanted.training)
        trained = fit(task_for(wanted), data, folder)
        run['cpu_minutes'] = round((time.process_time() - start) / 60, 2)  # since resuming
        run['steps'] = wanted.training.steps
        run['figures'] = {kind: evaluated(trained.model, x) for kind, x in evaluation.items()}
        save()
    return report


def table(report: dict) -> str:
    """Return the report as text."""
    rows = [(n, r) for n, r in report['runs'].items() if 'figures' in r]
    rows.append(('teacher', {'figures': report['figures of the teacher']}))
    kinds = list(rows[-1][1]['figures'])
    lines = [f'{report["minutes"]:g} CPU minutes per run; PSNR (dB) / SSIM / MS-SSIM / perceptual']
    lines.append(f'{"":24}{"steps":>7}' + ''.join(f'{kind:>28}' for kind in kinds))
    for name, run in rows:
        cells = (
            '{psnr:6.2f} {ssim:.4f} {ms_ssim:.4f} {perceptual:.4f}'.format(**run['figures'][kind])
            for kind in kinds
        )
        lines.append(f'{name:24}{run.get("steps", ""):>7}' + ''.join(f'{c:>28}' for c in cells))
    return '\n'.join(lines)


def gradient(loss: Tensor, at: Tensor) -> float:
    """Return the median length of the gradient of a loss at the rows of `at`."""
    (rows,) = torch.autograd.grad(loss, at, retain_graph=True)
    return float(rows.flatten(1).norm(dim=1).median()) * len(rows)


def scales(config: RunConfig) -> dict[str, float]:
    """Return factors that give all terms the gradient length of squared error at the latents."""
    crops = mixture(config.data, config.model.img_size)
    x = torch.from_numpy(augmented_crops(crops, config, PROJECTION_CROPS))
    student = load('tinyvae', backend='torch', device='cpu').module.eval()
    teacher = load_network(config.distillation.teacher)
    module = DistillationModule(student, config.training, config.distillation, teacher)
    module.fit_projection(x)
    x = x[:256]
    with torch.no_grad():
        mean, log_var = student.encode(x)
    mean.requires_grad_()
    y = student.decoder(mean)
    code, code_log_var = module.teacher.encode(x)
    predicted, var = module.projection(mean, log_var)
    target = code.flatten(1), code_log_var.flatten(1).exp()
    divergence = softened_divergence(*target, predicted, var, config.distillation.temperature)
    unit = gradient(losses.log_error(y, x).mean(), mean)
    output = losses.log_error(y, module.teacher.decode(code))
    return {
        'latent': unit / gradient(divergence.mean(), mean),
        'output': unit / gradient(output.mean(), mean),
        'perceptual': unit / gradient(perceptual.perceptual_distance(y, x).mean(), mean),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument(
        '--minutes', type=float, default=20, help='CPU minutes per run (default: 20)'
    )
    parser.add_argument(
        '--only', nargs='+', choices=CHANGES, metavar='NAME', help='only these runs'
    )
    parser.add_argument(
        '--crops', type=int, default=1000, help='crops of each kind to evaluate on (default: 1000)'
    )
    parser.add_argument('--runs', type=Path, default=Path('out/bench/distillation'))
    add_out(parser, 'distillation')
    parser.add_argument(
        '--scales', action='store_true', help='measure the scale factors of the terms'
    )
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    config = read_config(args.config)
    if args.scales:
        show_result(scales(config))
        return
    print(table(measure(args.only or list(CHANGES), config, args)))


if __name__ == '__main__':
    main()
