# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Probes of contexts and codes: what can be read from 4096 and from 256 dimensions.

Part of `bench/compressor.py`. The same kinds of read-outs are fitted to training contexts and to
their codes: ridge regressions, and `LModule` for the task to point a camera at the place of the
most salient item half a second later. `identity` is the share of contexts in which a classifier
recognizes the leading item, after it was fitted to half of the contexts of a held-out run.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sage_perception.context.layout import BLOCKS
from sage_perception.models.networks.h_to_l import explained_variance
from sage_perception.models.networks.h_to_l.l_module import PAN_TILT, LModule
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.training.tasks.h_to_l.tokens import LEADING

RIDGES = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5)  # penalties tried on part of the training runs
MIN_SPREAD = 0.1  # added to deviations, so that nearly constant features are not amplified
HEAD_STEPS = 400
HITS = 0.15  # half frames: tolerance of the pointing task


def targets(contexts: Contexts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the targets of each probe: values and mask `[N, K]`."""
    fields_of = {
        'saliency': ('logical.items', ('salience',)),
        'geometry': ('physical.items', ('x', 'y', 'width', 'height')),
        'motion': ('physical.items', ('velocity_x', 'velocity_y')),
        'trust': ('logical.items', ('telemetry_trust', 'error')),
    }
    found = {}
    for name, (block, fields) in fields_of.items():
        where = BLOCKS[block]
        chosen = [where.fields.index(field) for field in fields]
        parts = [
            where.rows(numbers)[:, :LEADING][..., chosen].reshape(len(contexts), -1)
            for numbers in (contexts.values, contexts.mask)
        ]
        found[name] = tuple(parts)
    return found


def r2(predicted: np.ndarray, true: np.ndarray, known: np.ndarray) -> float:
    """Return the explained variance of the known values."""
    tensors = (torch.from_numpy(x.astype(np.float32)) for x in (predicted, true, known))
    return float(explained_variance(*tensors))


class Ridge:
    """Ridge regressions from standardized features `[N, D]`, of contexts of `run` `[N]`."""

    def __init__(self, x: np.ndarray, run: np.ndarray):
        self.used = x.std(0) > 1e-4  # the others are constant in training
        self.mean, self.std = x.mean(0)[self.used], x.std(0)[self.used] + MIN_SPREAD
        self.x = self.standard(x)
        self.held = torch.from_numpy(np.isin(run, np.unique(run)[::5]))
        self.rows = {'part': self.x[~self.held], 'all': self.x}
        self.grams = {name: (rows.T @ rows).double() for name, rows in self.rows.items()}
        self.factors: dict[tuple[str, float], Tensor] = {}

    def standard(self, x: np.ndarray) -> Tensor:
        """Return features `[M, D]` standardized, float32 `[M, D']`."""
        return torch.from_numpy(((x[:, self.used] - self.mean) / self.std).astype(np.float32))

    def weights(self, rows: str, penalty: float, y: Tensor) -> Tensor:
        """Return the weights `[D', K]` for targets `y` of a set of rows, 'part' or 'all'."""
        if (rows, penalty) not in self.factors:
            gram = self.grams[rows]
            self.factors[rows, penalty] = torch.linalg.cholesky(
                gram + penalty * torch.eye(len(gram), dtype=gram.dtype)
            )
        target = (self.rows[rows].T @ y).double()
        return torch.cholesky_solve(target, self.factors[rows, penalty]).float()

    def fit(self, y: np.ndarray, known: np.ndarray, rows: str = 'all') -> tuple[Tensor, Tensor]:
        """Return weights `[D', K]` for `y` `[N, K]` and its mean `[K]`.

        The penalty is that with the best result on the runs left out of 'part'.
        """
        y, known = torch.from_numpy(y.astype(np.float32)), torch.from_numpy(known).float()
        mean = (y * known).sum(0) / known.sum(0).clamp_min(1)
        centered = (y - mean) * known
        targets = {'part': centered[~self.held], 'all': centered}
        scores = [
            explained_variance(
                self.x[self.held] @ self.weights('part', penalty, targets['part']),
                centered[self.held],
                known[self.held],
            )
            for penalty in RIDGES
        ]
        best = RIDGES[int(torch.stack(scores).argmax())]
        return self.weights(rows, best, targets[rows]), mean

    def read(self, y: np.ndarray, known: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return predictions `[M, K]` from features `x` `[M, D]` after a fit to `y` `[N, K]`."""
        weights, mean = self.fit(y, known)
        return (self.standard(x) @ weights + mean).numpy()


def train_head(ridge: Ridge, y: np.ndarray) -> LModule:
    """Return an `LModule` trained to predict pan and tilt `y` `[N, 2]` from features of `ridge`.

    Its linear path starts at the ridge regression. Returns the state with the best result on the
    runs that are left out.
    """
    torch.manual_seed(0)
    target = torch.from_numpy(y.astype(np.float32))
    head = LModule(ridge.x.shape[1])
    weights, mean = ridge.fit(y, np.ones_like(y, bool), 'part')
    with torch.no_grad():
        head.direct.weight[PAN_TILT], head.direct.bias[PAN_TILT] = weights.T, mean
    optimizer = torch.optim.AdamW(head.parameters(), 3e-4, weight_decay=0.1)
    best, kept = np.inf, {}
    rows = torch.nonzero(~ridge.held)[:, 0]
    for step in range(HEAD_STEPS + 1):
        if not step % 20:
            with torch.inference_mode():
                predicted = head(ridge.x[ridge.held])[:, PAN_TILT]
            error = float((predicted - target[ridge.held]).square().mean())
            if error < best:
                best, kept = error, {k: v.clone() for k, v in head.state_dict().items()}
        chosen = rows[torch.randint(len(rows), (256,))]
        loss = (head(ridge.x[chosen])[:, PAN_TILT] - target[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.load_state_dict(kept)
    return head


def identity(features: np.ndarray, contexts: Contexts) -> tuple[float, int]:
    """Return the recognition rate of the leading item in held-out runs, and the number of cases.

    A linear discriminant classifier with a common, shrunk covariance is fitted to half of the
    contexts of each run and tested on the others. Items that lead in fewer than six contexts are
    left out.
    """
    correct = cases = 0
    for run in np.unique(contexts.run):
        rows = np.flatnonzero(contexts.run == run)
        item = np.where(contexts.label[rows] >= 0, contexts.label[rows], -1 - contexts.track[rows])
        names, counts = np.unique(item, return_counts=True)
        rows = rows[np.isin(item, names[counts >= 6])]
        item = item[np.isin(item, names[counts >= 6])]
        if len(np.unique(item)) < 2:
            continue
        order = np.random.default_rng(int(run)).permutation(len(rows))
        fitted, tested = order[::2], order[1::2]
        x = features[rows] - features[rows[fitted]].mean(0)
        classes = list(np.unique(item[fitted]))
        means = np.stack([x[fitted][item[fitted] == c].mean(0) for c in classes])
        within = x[fitted] - means[np.searchsorted(classes, item[fitted])]
        # In the span of the samples, which has fewer dimensions than the features.
        _, spread, basis = np.linalg.svd(within, full_matrices=False)
        variance = spread**2 / len(within)
        floor = 0.3 * np.square(within).sum() / within.size + 1e-9
        shrink = 1 / np.sqrt(0.7 * variance + floor) - 1 / np.sqrt(floor)

        def whiten(a, basis=basis, shrink=shrink, floor=floor):
            return a / np.sqrt(floor) + (a @ basis.T * shrink) @ basis

        gaps = np.square(whiten(x[tested])[:, None] - whiten(means)[None]).sum(2)
        correct += int((np.array(classes)[gaps.argmin(1)] == item[tested]).sum())
        cases += len(tested)
    return correct / max(cases, 1), cases


def probes(train: Contexts, held_out: Contexts, codes: tuple[np.ndarray, np.ndarray]) -> dict:
    """Return the figures of all probes; `codes` are of the training and held-out contexts."""
    given = {'from_4096': (train.values, held_out.values), 'from_256': codes}
    result: dict[str, dict] = {}
    train_targets, true = targets(train), targets(held_out)
    ahead = [np.isfinite(c.later).all(1) for c in (train, held_out)]
    for name, (x, x_held_out) in given.items():
        ridge = Ridge(x, train.run)
        for probe, (y, known) in train_targets.items():
            predicted = ridge.read(y, known, x_held_out)
            result.setdefault(probe, {})[name] = round(r2(predicted, *true[probe]), 4)
        rate, cases = identity(x_held_out, held_out)
        result.setdefault('identity', {'cases': cases})[name] = round(rate, 4)
        pointing = Ridge(x[ahead[0]], train.run[ahead[0]])
        head = train_head(pointing, train.later[ahead[0]])
        with torch.inference_mode():
            predicted = head(pointing.standard(x_held_out[ahead[1]]))[:, PAN_TILT].numpy()
        goal = held_out.later[ahead[1]]
        result.setdefault('pan_tilt', {})[name] = round(r2(predicted, goal, np.ones_like(goal)), 4)
        near = np.linalg.norm(predicted - goal, axis=1) < HITS
        result.setdefault('pan_tilt_hits', {})[name] = round(float(near.mean()), 4)
    for figures in result.values():
        figures['ratio'] = round(figures['from_256'] / figures['from_4096'], 4)
    return result
