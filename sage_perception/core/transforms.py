# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The tree of coordinate frames that tf publishes, as matrices.

tf2_ros is not among the wheels of ROS, and its Python part needs its C++ part. A node here needs
the newest transform between two frames, which this class composes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

MAX_FRAMES = 1024
"""Maximum number of frames; transforms of further ones are ignored."""
MAX_DEPTH = 64
"""Maximum number of transforms from a frame to its root."""


class _Edge(NamedTuple):
    parent: str
    matrix: np.ndarray
    stamp_s: float


class TransformTree:
    """The newest transform of each frame to its parent (REP-105).

    A static transform is valid at all times. Another one is replaced by a newer one, and by an
    older one only if the clock jumped back by more than `MAX_BACK_S`.
    """

    MAX_BACK_S = 1.0

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def add(self, parent: str, child: str, matrix: np.ndarray, stamp_s: float = math.inf) -> bool:
        """Add the transform `[4, 4]` from `child` to `parent`; return whether it is used.

        `stamp_s` is its time in seconds, infinite for a static transform.
        """
        parent, child = parent.lstrip('/'), child.lstrip('/')
        old = self._edges.get(child)
        if not parent or not child or parent == child:
            return False
        if old is None and len(self._edges) >= MAX_FRAMES:
            return False
        late_s = 0.0 if old is None or math.isinf(old.stamp_s) else old.stamp_s - stamp_s
        if 0 < late_s < self.MAX_BACK_S:
            return False
        self._edges[child] = _Edge(parent, np.asarray(matrix, np.float64), stamp_s)
        return True

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """Return the transform `[4, 4]` from frame `source` to frame `target`.

        None if the frames are not connected. A circle of transforms is not followed twice.
        """
        ours, theirs = self._path(source.lstrip('/')), self._path(target.lstrip('/'))
        for frame, matrix in ours.items():
            if frame in theirs:
                return np.linalg.inv(theirs[frame]) @ matrix
        return None

    def _path(self, frame: str) -> dict[str, np.ndarray]:
        """Return the transforms from a frame to itself and to each of its ancestors."""
        found, matrix = {frame: np.eye(4)}, np.eye(4)
        for _ in range(MAX_DEPTH):
            edge = self._edges.get(frame)
            if edge is None or edge.parent in found:
                break
            frame, matrix = edge.parent, edge.matrix @ matrix
            found[frame] = matrix
        return found
