# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train residual networks on CIFAR-10 with and without skip gates and a slip schedule.

    python bench/zspace_slip.py FOLDER [--blocks 3] [--epochs 10] [--images 10000]

FOLDER has one folder of images per class. Both networks see the same batches; every tenth image
is held out. Trains in bfloat16 on one thread: about 20 s of one core per epoch and network for
ResNet-20 (--blocks 3), and 60 s for ResNet-56 (--blocks 9). A run that was stopped resumes at its
last epoch, from the checkpoints in out/train/slip.
Writes the section `slip` of out/bench/zspace.json: accuracy, loss curves and gradient norms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from result_file import add_out, read_result, show_result, write_result

from sage_perception.core.files import replacing
from sage_perception.models.backbones.resnet_cifar import CifarResNet, CifarResNetConfig

CHECKPOINTS = Path('out/train/slip')
KINDS = {3: CifarResNetConfig.resnet20, 9: CifarResNetConfig.resnet56}
BATCH = 100


def read(folder: Path, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardized images `[N, 3, 32, 32]` in random order, and their classes `[N]`."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(p, i) for i, c in enumerate(classes) for p in sorted(c.iterdir())]
    order = np.random.default_rng(0).permutation(len(files))[:count]
    images = np.stack([cv2.imread(str(files[i][0])) for i in order]).astype(np.float32)
    labels = torch.tensor([files[i][1] for i in order])
    images = (images - images.mean((0, 1, 2))) / images.std((0, 1, 2))
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), labels


def train(
    config: CifarResNetConfig,
    images: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    seed: int,
    checkpoint: Path,
) -> dict:
    """Return held-out accuracy, the mean loss of each epoch, and gradient norms of the stem.

    The state after each epoch is kept in `checkpoint`, where the training resumes.
    """
    torch.manual_seed(seed)
    # bfloat16 and channels_last halve the time of a step on a CPU.
    network = CifarResNet(config).to(memory_format=torch.channels_last)
    held_out = torch.arange(len(images)) % 10 == 0
    x, y = images[~held_out], labels[~held_out]
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    norms: list[float] = []
    parts = {'network': network, 'optimizer': optimizer, 'schedule': schedule}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        generator.set_state(state['generator'])
        losses, norms = state['losses'], state['norms']
    for _ in range(len(losses), epochs):
        total = []
        order = torch.randperm(len(x), generator=generator)
        for part in order[: len(x) // BATCH * BATCH].split(BATCH):
            batch = x[part]
            if torch.rand((), generator=generator) < 0.5:
                batch = batch.flip(3)
            shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
            batch = batch.roll(shift, (2, 3)).contiguous(memory_format=torch.channels_last)
            with torch.autocast('cpu', torch.bfloat16):
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), y[part], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            norms.append(float(network.stem.weight.grad.norm()))
            optimizer.step()
            schedule.step()
            total.append(loss.item())
        losses.append(round(float(np.mean(total)), 4))
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {'generator': generator.get_state(), 'losses': losses, 'norms': norms}
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with replacing(checkpoint) as file:
            torch.save(state, file)
    network.eval()
    with torch.inference_mode():
        guesses = torch.cat([network(part).argmax(1) for part in images[held_out].split(250)])
    return {
        'accuracy': float((guesses == labels[held_out]).float().mean()),
        'losses': losses,
        'gradient_norms': [round(float(np.median(part)), 4) for part in np.array_split(norms, 10)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='folder with one folder of images per class')
    parser.add_argument('--blocks', type=int, choices=KINDS, default=3, help='blocks per stage')
    parser.add_argument('--epochs', type=int, default=10, help='default: 10')
    parser.add_argument('--images', type=int, default=10_000, help='default: 10000')
    parser.add_argument('--seeds', type=int, default=3, help='default: 3')
    add_out(parser, 'zspace')
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = read(args.folder, args.images)
    runs: dict[str, list[dict]] = {'slip': [], 'plain': []}
    for seed in range(args.seeds):
        for name in runs:
            config = KINDS[args.blocks](slip=name == 'slip')
            kind = f'{args.blocks}_{args.epochs}_{len(images)}_{name}_{seed}.pt'
            checkpoint = CHECKPOINTS / kind
            runs[name].append(train(config, images, labels, args.epochs, seed, checkpoint))
            show_result({name: runs[name][-1], 'seed': seed})
    means = {n: round(float(np.mean([r['accuracy'] for r in v])), 4) for n, v in runs.items()}
    result = read_result(args.out)
    result.setdefault('slip', {})[f'resnet{6 * args.blocks + 2}'] = {
        'value': means['slip'],
        'baselines': {'plain': means['plain']},
        'seeds': list(range(args.seeds)),
        'epochs': args.epochs,
        'images': len(images),
        'runs': runs,
    }
    write_result(args.out, result)


if __name__ == '__main__':
    main()
