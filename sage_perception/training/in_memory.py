# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop of small networks on samples in memory.

They train for seconds or minutes on arrays, so they have none of the checkpoints, metrics and data
modules of `training.loop`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from sage_perception.core.progress import track


def train(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> None:
    """Train parameters with AdamW, a cosine decay of the learning rate and clipped gradients.

    `loss` returns the loss of the samples with the given indices, int64 `[batch]`; they are drawn
    at random from `count` ≥ 1 in each of `steps`. Raises `ValueError` if the loss is not finite.
    """
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    generator = torch.Generator().manual_seed(seed)
    for step in track(range(steps), 'training'):
        value = loss(torch.randint(count, (batch,), generator=generator))
        if not torch.isfinite(value):
            raise ValueError(f'the loss is {value.item()} at step {step}: lower the learning rate')
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
