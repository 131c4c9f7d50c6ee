# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The chain from fused latents over the puzzle to h, l and an action, and its examples."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from sage_perception.models.codec import Codec
from sage_perception.models.networks.puzzle.attention import CrossModalAttention
from sage_perception.models.networks.puzzle.effector import ACTION_DIM, EffectorVAE
from sage_perception.models.networks.puzzle.grid import (
    H_DIM,
    L_DIM,
    SIDE,
    LatentBridge,
    PuzzleVAE,
    SensorVAE,
)
from sage_perception.puzzle import space
from sage_perception.puzzle.tokens import turn_towards
from sage_perception.training.puzzle.cues import FIELD_OF_VIEW, HEAD
from sage_perception.training.puzzle.examples import Batch
from sage_perception.training.puzzle.scenes import OBJECTS, SceneTokens
from sage_perception.vision.crops import to_pixels

LIMITS = tuple(joint.upper for joint in HEAD.joints)
"""Limits of pan and tilt, radians; they are symmetric."""
SPREAD = 0.16
"""Standard deviation of the mark of the object meant, half sides of the grid."""


class ChainBatch(NamedTuple):
    """Examples with their puzzles.

    Attributes:
        batch: objects, cues and targets.
        puzzle: the maximum of all modalities, `[B, 10, 30, 30]`.
        where: position of the object meant, `[B, 2]`.
        action: `[B, 19]`, the pan and the tilt that look at it, relative to their limits.

    """

    batch: Batch
    puzzle: Tensor
    where: Tensor
    action: Tensor


class Steps(NamedTuple):
    """What each hop of the chain makes; positions `[B, 2]` are read from the latents."""

    logits: Tensor
    puzzle: Tensor
    h: Tensor
    h_log_var: Tensor
    l: Tensor
    bridged_l: Tensor
    bridged_h: Tensor
    cycle_h: Tensor
    action: Tensor
    code: Tensor
    code_log_var: Tensor
    where_h: Tensor
    where_l: Tensor
    where_bridged: Tensor


class Chain(nn.Module):
    """All networks from object tokens and cues to an action.

    `frozen` keeps the fusion network as it is; otherwise the chain is trained end to end.
    """

    def __init__(self, fusion: CrossModalAttention, skip: bool = True, frozen: bool = False):
        super().__init__()
        self.fusion, self.frozen = fusion, frozen
        fusion.requires_grad_(not frozen)
        self.sensor, self.puzzle_vae = SensorVAE(), PuzzleVAE(skip)
        self.bridge, self.effector = LatentBridge(), EffectorVAE()
        self.where_h, self.where_l = nn.Linear(H_DIM, 2), nn.Linear(L_DIM, 2)

    def forward(self, batch: Batch, puzzle: Tensor, sample: bool = False) -> Steps:
        """Return the results of all hops; `sample` draws the latents, for training."""
        fused, logits, _ = self.fusion(*batch[:4])
        written = self.sensor(puzzle, fused)
        mean, log_var, l = self.puzzle_vae.encode(written, fused)
        h = mean
        if sample:
            h = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
        command = self.effector(h, l, sample)
        bridged_l = self.bridge.h_to_l(h)
        return Steps(
            logits, written, mean, log_var, l, bridged_l, self.bridge.l_to_h(l),
            self.bridge.l_to_h(bridged_l), command.action, command.code, command.log_var,
            self.where_h(h), self.where_l(l), self.where_l(bridged_l),
        )  # fmt: skip


def decoded_crops(scenes: SceneTokens, codec: Codec) -> np.ndarray:
    """Return the crops of scenes as their latents decode, uint8 `[N, 6, 16, 16, 3]`."""
    z = scenes.appearance.reshape(-1, scenes.appearance.shape[2])
    small = [
        cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
        for start in range(0, len(z), 512)
        for image in to_pixels(codec.decode(z[start : start + 512]))
    ]
    return np.stack(small).reshape(len(scenes), OBJECTS, 16, 16, 3)


def with_puzzles(batch: Batch, scenes: SceneTokens, crops: np.ndarray) -> ChainBatch:
    """Return examples with their puzzles and actions; `crops` are those of the scenes."""
    rows = batch.scene.numpy()
    puzzles, where = [], []
    for i, row in enumerate(rows):
        there = batch.present[i].numpy() > 0.5
        text = batch.cues[0][i].numpy() if batch.given[i, 0] > 0 else None
        body = (batch.cues[2][i].numpy(), None) if batch.given[i, 2] > 0 else None
        puzzle = space.write_scene(crops[row][there], scenes.position[row][there], text, body)
        puzzles.append(puzzle.values.astype(np.float16))
        where.append(scenes.position[row, int(batch.target[i]), :2])
    action = np.zeros((len(rows), ACTION_DIM), np.float32)
    for values, position in zip(action, where, strict=True):
        values[:2] = np.array(turn_towards(position, FIELD_OF_VIEW)) / LIMITS
    return ChainBatch(
        batch,
        torch.from_numpy(np.stack(puzzles)),
        torch.from_numpy(np.stack(where)),
        torch.from_numpy(action),
    )


def mark(where: Tensor) -> Tensor:
    """Return the mark of positions `[B, 2]` in the trust channel, `[B, 30, 30]` in [0, 1]."""
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    u = (line[None, None] - where[:, 0, None, None]) ** 2
    v = (line[None, :, None] - where[:, 1, None, None]) ** 2
    return torch.exp(-(u + v) / (2 * SPREAD**2))
