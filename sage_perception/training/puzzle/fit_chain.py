# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of the chain from fused latents to an action."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from sage_perception.puzzle.space import TRUST
from sage_perception.training.puzzle.chain import Chain, ChainBatch, Steps, mark
from sage_perception.training.puzzle.fit import FitConfig, fit_pool, select

BETA = 1e-4
"""Weight of the KL divergences, which are means over the batch."""
MARK_WEIGHT = 20.0
"""Weight of a marked cell, relative to one without a mark."""
FREE_BITS = 0.05
"""Divergence of a dimension that costs nothing, nats."""
WEIGHTS = {'written': 2.0, 'mark': 4.0, 'puzzle': 2.0, 'where': 2.0, 'action': 20.0, 'bridge': 1.0}


def fit_chain(chain: Chain, pool: ChainBatch, config: FitConfig) -> Chain:
    """Train a chain on a pool of examples and return it."""
    torch.manual_seed(config.seed)

    def loss(rows: Tensor) -> Tensor:
        part = take(pool, rows)
        return loss_of(chain(part.batch, part.puzzle, sample=True), part, chain)

    fit_pool(chain, loss, len(pool.where), config)
    return chain


def loss_of(steps: Steps, part: ChainBatch, chain: Chain) -> Tensor:
    """Return the loss of the hops of a chain."""
    decoded = chain.puzzle_vae.decode(steps.h, steps.l)
    bridge = mse_loss(steps.bridged_l, steps.l.detach())
    bridge = bridge + mse_loss(steps.bridged_h, steps.h.detach())
    bridge = bridge + mse_loss(steps.cycle_h, steps.h.detach())
    where = sum(
        mse_loss(found, part.where)
        for found in (steps.where_h, steps.where_l, steps.where_bridged)
    )
    terms = {
        'written': mse_loss(steps.puzzle[:, :TRUST], part.puzzle[:, :TRUST]),
        'mark': mark_error(steps.puzzle[:, TRUST], mark(part.where)),
        'puzzle': mse_loss(decoded, steps.puzzle.detach()),
        'where': where,
        'action': mse_loss(steps.action, part.action),
        'bridge': bridge,
    }
    total = sum(WEIGHTS[name] * term for name, term in terms.items())
    total = total + BETA * (_kl(steps.h, steps.h_log_var) + _kl(steps.code, steps.code_log_var))
    if not chain.frozen:
        total = total + 0.3 * cross_entropy(steps.logits, part.batch.target)
    assert isinstance(total, Tensor)
    return total


def mark_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared error of marks, weighted so that the few marked cells count."""
    return ((1 + MARK_WEIGHT * wanted) * (found - wanted) ** 2).mean()


def take(pool: ChainBatch, rows: Tensor) -> ChainBatch:
    """Return the examples of a pool with the indices `rows`, puzzles as float32."""
    return ChainBatch(
        select(pool.batch, rows), pool.puzzle[rows].float(), pool.where[rows], pool.action[rows]
    )


@torch.inference_mode()
def run_chain(chain: Chain, pool: ChainBatch, batch: int = 200) -> Steps:
    """Return the results of all hops for all examples of a pool."""
    parts = []
    for start in range(0, len(pool.where), batch):
        part = take(pool, torch.arange(start, min(start + batch, len(pool.where))))
        parts.append(chain(part.batch, part.puzzle))
    return Steps(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _kl(mean: Tensor, log_var: Tensor) -> Tensor:
    each = 0.5 * (mean**2 + log_var.exp() - log_var - 1).mean(0)
    return each.clamp(min=FREE_BITS).sum()
