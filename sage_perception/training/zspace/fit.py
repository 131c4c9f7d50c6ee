# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fits a small network of Z-space to samples in memory.

These networks train for seconds on arrays, so they have none of the checkpoints, metrics and data
modules of `training.loop`.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar('Network', bound=nn.Module)


def fit(
    network: Network,
    samples: Tensor,
    *,
    steps: int,
    batch: int = 32,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> Network:
    """Train a network and return it; its method `loss` returns the loss of a batch.

    `samples` are float `[N, ...]`, N ≥ 1; each of `steps` takes `batch` of them at random. AdamW
    with a cosine decay of the learning rate. Raises `ValueError` if the loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=1e-4)
    network.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group['lr'] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        chosen = torch.randint(len(samples), (batch,), generator=generator)
        loss: Tensor = network.loss(samples[chosen])  # type: ignore[operator]
        if not torch.isfinite(loss):
            raise ValueError(f'the loss is {loss.item()} at step {step}: lower the learning rate')
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network.eval()
