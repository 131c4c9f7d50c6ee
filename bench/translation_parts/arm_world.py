# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A KUKA arm before colored balls in pybullet, with a rendered camera.

pybullet (zlib license) is needed for this measurement alone: requirements/bench.in.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import pybullet
import pybullet_data

from sage_perception.puzzle.kinematics import KUKA_IIWA
from sage_perception.training.data.objects.rendered import COLORS

SIDE = 128
HOME = np.array([0.0, 0.0, 0.0, -1.4, 0.0, 1.0, 0.0])
AREA = ((0.42, 0.68), (-0.28, 0.28))
"""Where balls lie: x and y, m."""
RADIUS = 0.03
MIN_GAP = 0.12
"""Smallest distance of two balls, m."""
EYE, LOOK_AT, FIELD_OF_VIEW = (1.25, 0.0, 0.85), (0.52, 0.0, 0.0), 42.0
STEPS_PER_S = 240
MIN_DIFFERENCE, MIN_PIXELS = 25, 12


class Ball(NamedTuple):
    """A ball: index of its color in `sentences.COLORS`, and its center, m, `[3]`."""

    color: int
    center: np.ndarray


class ArmWorld:
    """The simulation; one object for each process."""

    def __init__(self) -> None:
        self._client = pybullet.connect(pybullet.DIRECT)
        pybullet.setAdditionalSearchPath(pybullet_data.getDataPath())
        pybullet.setGravity(0, 0, -9.81)
        self._plane = pybullet.loadURDF('plane.urdf')
        self._arm = pybullet.loadURDF('kuka_iiwa/model.urdf', useFixedBase=True)
        self._balls: list[int] = []
        self._view = pybullet.computeViewMatrix(EYE, LOOK_AT, (0, 0, 1))
        self._projection = pybullet.computeProjectionMatrixFOV(FIELD_OF_VIEW, 1.0, 0.1, 4.0)

    def reset(self, balls: list[Ball], angles: np.ndarray = HOME) -> None:
        """Put the arm and the balls where they start."""
        for body in self._balls:
            pybullet.removeBody(body)
        self._balls = []
        for ball in balls:
            color = [*COLORS[ball.color].tolist(), 1]
            shape = pybullet.createVisualShape(
                pybullet.GEOM_SPHERE, radius=RADIUS, rgbaColor=color
            )
            self._balls.append(
                pybullet.createMultiBody(0, -1, shape, basePosition=ball.center.tolist())
            )
        for joint, angle in enumerate(angles):
            pybullet.resetJointState(self._arm, joint, float(angle))

    def angles(self) -> np.ndarray:
        """Return the measured angles, radians, `[7]`."""
        return np.array([pybullet.getJointState(self._arm, j)[0] for j in range(7)])

    def hand(self) -> np.ndarray:
        """Return the position of the hand, m, `[3]`."""
        state = pybullet.getLinkState(self._arm, 6, computeForwardKinematics=True)
        return np.array(state[0])

    def move(self, angles: np.ndarray, seconds: float) -> None:
        """Simulate position control of the joints."""
        pybullet.setJointMotorControlArray(
            self._arm, list(range(7)), pybullet.POSITION_CONTROL, angles.tolist(),
            forces=[300.0] * 7,
        )  # fmt: skip
        for _ in range(round(seconds * STEPS_PER_S)):
            pybullet.stepSimulation()

    def image(self, light: tuple[float, float, float] = (1.0, 0.5, 2.0)) -> np.ndarray:
        """Return the image of the camera, uint8 RGB `[128, 128, 3]`."""
        _, _, pixels, _, _ = pybullet.getCameraImage(
            SIDE, SIDE, self._view, self._projection, lightDirection=light,
            renderer=pybullet.ER_TINY_RENDERER,
        )  # fmt: skip
        return np.reshape(pixels, (SIDE, SIDE, 4))[..., :3].astype(np.uint8)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the places of points in the image, from −1 to 1 (see `tokens.positions`)."""
        view = np.reshape(self._view, (4, 4)).T
        projection = np.reshape(self._projection, (4, 4)).T
        clip = np.column_stack((points, np.ones(len(points)))) @ (projection @ view).T
        return clip[:, :2] / clip[:, 3:] * (1, -1)


def random_balls(rng: np.random.Generator, count: int) -> list[Ball]:
    """Return balls of different colors, apart from each other."""
    while True:
        xy = rng.uniform([a[0] for a in AREA], [a[1] for a in AREA], (count, 2))
        gaps = np.linalg.norm(xy[:, None] - xy[None], axis=2) + 9 * np.eye(count)
        if gaps.min() >= MIN_GAP:
            break
    colors = rng.permutation(len(COLORS))[:count]
    return [Ball(int(c), np.array([*p, RADIUS])) for c, p in zip(colors, xy, strict=True)]


def find_boxes(image: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Return the boxes of what differs from the image of the empty scene, `[N, 4]`."""
    difference = cv2.absdiff(image, empty).max(axis=2)
    mask = (difference > MIN_DIFFERENCE).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    return np.array(
        [stats[i, :4] for i in range(1, count) if stats[i, 4] >= MIN_PIXELS], float
    ).reshape(-1, 4)


def check_kinematics(world: ArmWorld, rng: np.random.Generator) -> float:
    """Return the largest difference of the hand in pybullet and in `KUKA_IIWA`, m."""
    worst = 0.0
    for _ in range(20):
        angles = rng.uniform(KUKA_IIWA.lower, KUKA_IIWA.upper)
        world.reset([], angles)
        worst = max(worst, float(np.abs(world.hand() - KUKA_IIWA.forward(angles[None])[0]).max()))
    return worst
