# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fits a small network of Z-space to samples in memory."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from sage_perception.training.in_memory import train

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

    def loss(rows: Tensor) -> Tensor:
        found: Tensor = network.loss(samples[rows])  # type: ignore[operator]
        return found

    network.train()
    train(
        network.parameters(), loss, len(samples), steps=steps, batch=batch,
        learning_rate=learning_rate, weight_decay=1e-4, seed=seed,
    )  # fmt: skip
    return network.eval()
