# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A policy from words, crops and joints to commands of the arm, and its training.

The fusion network attends to the crops; its fused latent goes to h and l by linear maps, and the
effector network makes the action. Examples combine crops of rendered balls with projected
positions, so that few images have to be rendered. The target is a posture whose hand is just
above the ball; the loss is the distance of the hand by forward kinematics, and that of the
posture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sage_perception.irp.control import ControlIRP, Reaches
from sage_perception.models.codec import Codec
from sage_perception.models.networks.puzzle.attention import CrossModalAttention, FusionConfig
from sage_perception.models.networks.puzzle.effector import EffectorVAE
from sage_perception.models.networks.puzzle.grid import H_DIM, L_DIM
from sage_perception.puzzle.action import LEFT_ARM
from sage_perception.puzzle.kinematics import KUKA_IIWA
from sage_perception.puzzle.proprioception import BodyState, ProprioceptionSpace
from sage_perception.puzzle.tokens import positions
from sage_perception.training.puzzle.cues import Phrases
from sage_perception.training.puzzle.examples import AUDIO_DIM, TEXT_DIM
from sage_perception.training.puzzle.scenes import cut_crops
from translation_parts.arm_world import (
    HOME,
    RADIUS,
    SIDE,
    ArmWorld,
    find_boxes,
    random_balls,
)

MAX_BALLS = 6
ABOVE = np.array([0.0, 0.0, 0.02])
"""Where the hand should be, from the center of the ball, m."""
BODY = ProprioceptionSpace(KUKA_IIWA.joints)
BANK_SCENES = 150
JITTER = 0.04
"""Error of the edges of a box in the examples, relative to its side."""
REACH = ControlIRP(tolerance_m=5e-4)


class Bank(NamedTuple):
    """Latents of rendered balls `[N, 64]`, and their colors `[N]`."""

    latents: np.ndarray
    colors: np.ndarray


class Examples(NamedTuple):
    """Inputs and targets: the ball meant, where the hand should be, and the posture `[B, 7]`."""

    objects: Tensor
    present: Tensor
    text: Tensor
    body: Tensor
    target: Tensor
    place: Tensor
    posture: Tensor


class ArmPolicy(nn.Module):
    """Fusion network, linear maps to h and l, and the effector network."""

    def __init__(self) -> None:
        super().__init__()
        self.fusion = CrossModalAttention(FusionConfig())
        self.to_h, self.to_l = nn.Linear(256, H_DIM), nn.Linear(256, L_DIM)
        self.effector = EffectorVAE()

    def forward(
        self, objects: Tensor, present: Tensor, text: Tensor, body: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return actions `[B, 19]` and logits of the objects."""
        audio = text.new_zeros(len(text), AUDIO_DIM)
        fused, logits, _ = self.fusion(objects, present, (text, audio, body), given)
        return self.effector(self.to_h(fused), self.to_l(fused)).action, logits


def perceive(image: np.ndarray, empty: np.ndarray, codec: Codec) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens `[MAX_BALLS, 132]` and which are present, of regions that differ."""
    boxes = find_boxes(image, empty)[:MAX_BALLS]
    tokens, present = np.zeros((MAX_BALLS, 132), np.float32), np.zeros(MAX_BALLS, np.float32)
    if len(boxes):
        x = cut_crops(image, boxes, codec.input_size).transpose(0, 3, 1, 2)
        tokens[: len(boxes), :64] = codec.encode(x.astype(np.float32) / 255)
        tokens[: len(boxes), 128:] = positions(boxes, (SIDE, SIDE))
        present[: len(boxes)] = 1
    return tokens, present


def render_bank(world: ArmWorld, codec: Codec, rng: np.random.Generator) -> Bank:
    """Return latents of balls in rendered images; each ball belongs to the nearest region."""
    latents, colors = [], []
    for _ in range(BANK_SCENES):
        light = (rng.uniform(-1, 2), rng.uniform(-1, 1), 2.0)
        world.reset([])
        empty = world.image(light)
        balls = random_balls(rng, 4)
        world.reset(balls)
        tokens, present = perceive(world.image(light), empty, codec)
        places = world.project(np.stack([ball.center for ball in balls]))
        for token in tokens[present > 0]:
            distance = np.linalg.norm(places - token[128:130], axis=1)
            if distance.min() < 0.08:
                latents.append(token[:64])
                colors.append(balls[int(distance.argmin())].color)
    return Bank(np.array(latents), np.array(colors))


def draw(
    world: ArmWorld, bank: Bank, phrases: Phrases, count: int, rng: np.random.Generator
) -> Examples:
    """Return examples; sentences name balls by their color."""
    objects = np.zeros((count, MAX_BALLS, 132), np.float32)
    present = np.zeros((count, MAX_BALLS), np.float32)
    text, body = np.zeros((count, TEXT_DIM), np.float32), np.zeros((count, 32), np.float32)
    target, place = np.zeros(count, np.int64), np.zeros((count, 3), np.float32)
    rows_of = {color: np.flatnonzero(bank.colors == color) for color in range(8)}
    for row in range(count):
        balls = random_balls(rng, int(rng.integers(2, 6)))
        centers = np.stack([ball.center for ball in balls])
        radius = np.abs(
            world.project(centers + [0, RADIUS, 0]) - world.project(centers - [0, RADIUS, 0])
        ).max(1)
        corner = (world.project(centers) + 1) / 2 * SIDE - radius[:, None] * SIDE / 4
        sides = np.repeat(radius[:, None] * SIDE / 2, 2, 1)
        corner = corner + rng.normal(0, JITTER, corner.shape) * sides
        boxes = np.column_stack((np.round(corner), np.round(sides) + rng.integers(-1, 2, 2)))
        for i, ball in enumerate(balls):
            objects[row, i, :64] = bank.latents[rng.choice(rows_of[ball.color])]
        objects[row, : len(balls), 128:] = positions(boxes, (SIDE, SIDE))
        present[row, : len(balls)] = 1
        target[row] = meant = int(rng.integers(len(balls)))
        place[row] = balls[meant].center + ABOVE
        text[row] = phrases.draw(balls[meant].color, 0, rng)
        angles = HOME + rng.normal(0, 0.4, 7)
        body[row] = BODY.encode(BodyState(angles, np.zeros(7), np.zeros(7))).mean
    postures, _ = REACH.refine(Reaches(place, np.tile(HOME, (count, 1))))
    scaled = 2 * (np.array(postures) - KUKA_IIWA.lower) / (KUKA_IIWA.upper - KUKA_IIWA.lower) - 1
    arrays = (objects, present, text, body, target, place, scaled.astype(np.float32))
    return Examples(*map(torch.from_numpy, arrays))


def forward_kinematics(scaled: Tensor) -> Tensor:
    """Return the hand `[B, 3]` at positions of the joints relative to their limits, `[B, 7]`."""
    limits = np.stack((KUKA_IIWA.lower, KUKA_IIWA.upper)).astype(np.float32)
    lower, upper = torch.from_numpy(limits)
    angles = lower + (scaled + 1) / 2 * (upper - lower)
    rotation = torch.eye(3).expand(len(scaled), 3, 3)
    place = torch.zeros(len(scaled), 3)
    zero, one = torch.zeros(len(scaled)), torch.ones(len(scaled))
    for joint in range(7):
        place = place + rotation @ torch.tensor(KUKA_IIWA.origins[joint], dtype=torch.float32)
        rotation = rotation @ torch.tensor(KUKA_IIWA.rotations[joint], dtype=torch.float32)
        c, s = torch.cos(angles[:, joint]), torch.sin(angles[:, joint])
        turn = torch.stack((c, -s, zero, s, c, zero, zero, zero, one), 1).reshape(-1, 3, 3)
        rotation = rotation @ turn
    return place + rotation @ torch.tensor(KUKA_IIWA.tool, dtype=torch.float32)


def fit_policy(
    examples: Examples, steps: int, seed: int, given: tuple[float, float, float] = (1, 0, 1),
    blind: bool = False,
) -> ArmPolicy:  # fmt: skip
    """Return a trained policy; `blind` has no objects: joints alone, with `given` (0, 0, 1)."""
    torch.manual_seed(seed)
    policy = ArmPolicy()
    tokens = examples.objects[examples.present > 0]
    policy.fusion.token_mean.copy_(tokens.mean(0))
    policy.fusion.token_std.copy_(torch.where(tokens.std(0) > 1e-3, tokens.std(0), 1.0))
    trust = torch.tensor(given).expand(len(examples.text), 3)
    cues = (examples.text, torch.zeros(len(trust), AUDIO_DIM), examples.body)
    policy.fusion.standardize(cues, trust)
    optimizer = torch.optim.AdamW(policy.parameters(), 1.5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(examples.text), (256,), generator=generator)
        part = Examples(*(each[rows] for each in examples))
        text = part.text + 0.015 * torch.randn_like(part.text)
        objects = part.objects * (0 if blind else 1)
        action, logits = policy(objects, part.present, text, part.body, trust[rows])
        arm = action[:, LEFT_ARM]
        miss = (forward_kinematics(arm) - part.place).norm(dim=1)
        loss = 5 * miss.mean() + 20 * ((arm - part.posture) ** 2).mean()
        if not blind:
            loss = loss + 0.5 * cross_entropy(logits, part.target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return policy.eval()
