# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The frames of trusted LCTs that wait until their agreements have arrived."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from sage_msgs.msg import LCTArray

from sage_perception.ros.conversions.lct_arrays import carries_codes, claimed_camera
from sage_perception.ros.relayed import RelayedFrame, RelayedVerifier

AGREEMENT_TIMEOUT_S = 0.25
"""Maximum delay between the trusted LCTs of a frame and its agreements, seconds."""
MAX_WAITING_FRAMES = 64


class DueFrames(NamedTuple):
    """Frames whose agreements must have arrived.

    `newest` is the newest frame of each camera, and `coded` are the older ones that carry codes.
    """

    newest: dict[str, RelayedFrame]
    coded: list[RelayedFrame]


class WaitingFrames:
    """Keeps received arrays, and verifies those that are used when they are due."""

    def __init__(self, verifier: RelayedVerifier) -> None:
        self._verifier = verifier
        self._waiting: deque[tuple[float, LCTArray, bytes]] = deque(maxlen=MAX_WAITING_FRAMES)

    def add(self, message: LCTArray, publisher: bytes) -> None:
        """Keep an array; beyond `MAX_WAITING_FRAMES` the oldest is dropped."""
        self._waiting.append((time.monotonic(), message, publisher))

    def drop_due(self) -> list[tuple[LCTArray, bytes]]:
        """Remove the arrays that are due, and return them with their publishers, oldest first."""
        due = []
        while self._waiting and self._waiting[0][0] <= time.monotonic() - AGREEMENT_TIMEOUT_S:
            due.append(self._waiting.popleft()[1:])
        return due

    def take_due(self) -> DueFrames:
        """Remove the arrays that are due, and return their frames that are used."""
        due = self.drop_due()
        # Codes come with few frames: those are all verified, in their order.
        coded = {
            index: self._verifier.frames(message, publisher)
            for index, (message, publisher) in enumerate(due)
            if carries_codes(message)
        }
        newest: dict[str, RelayedFrame] = {}
        for index, (message, publisher) in reversed(list(enumerate(due))):
            # An older frame of a camera is verified only if no newer one is valid.
            if index in coded or claimed_camera(message) not in newest:
                verified = coded.get(index)
                if verified is None:
                    verified = self._verifier.frames(message, publisher)
                for frame in verified:
                    newest.setdefault(frame.camera, frame)
        older = [
            frame
            for frames in coded.values()
            for frame in frames
            if newest[frame.camera] is not frame
        ]
        return DueFrames(newest, older)
