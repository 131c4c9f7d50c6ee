# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sound in simulated rooms, by the image-source method (pyroomacoustics)."""

from __future__ import annotations

import numpy as np
import pyroomacoustics as room_acoustics

from sage_perception.audio.mel import RATE

MARGIN_M = 0.5
"""Least distance of source and microphones to the walls."""


def in_room(
    signal: np.ndarray,
    angle: float,
    rng: np.random.Generator,
    rt60_s: float = 0.3,
    snr_db: float = 10.0,
    spacing_m: float = 0.2,
) -> np.ndarray:
    """Return what two microphones record of a source in a random room, float32 `[N, 2]`.

    The rooms are boxes of 4 to 8 m by 4 to 8 m by 2.5 to 3.5 m. The source is 1 to 2.5 m away at
    `angle`, radians, positive to the left, where the first microphone is. White noise is
    independent for each microphone.
    """
    while True:
        size = rng.uniform([4, 4, 2.5], [8, 8, 3.5])
        heading, distance = rng.uniform(-np.pi, np.pi), rng.uniform(1, 2.5)
        center = rng.uniform([1, 1, 0.8], size - [1, 1, 1])
        direction = heading + angle
        source = center + distance * np.array([np.cos(direction), np.sin(direction), 0])
        source[2] += rng.uniform(-0.2, 0.2)
        if (source > MARGIN_M).all() and (source < size - MARGIN_M).all():
            break
    absorption, order = room_acoustics.inverse_sabine(rt60_s, size)
    room = room_acoustics.ShoeBox(
        size, fs=RATE, materials=room_acoustics.Material(absorption), max_order=min(order, 25)
    )
    room.add_source(source, signal=signal)
    left = np.array([-np.sin(heading), np.cos(heading), 0]) * spacing_m / 2
    room.add_microphone(np.stack([center + left, center - left], 1))
    room.simulate()
    recorded = room.mic_array.signals.T
    power = np.mean(recorded[: len(signal)] ** 2)
    noise = rng.normal(size=recorded.shape) * np.sqrt(power) * 10 ** (-snr_db / 20)
    return (recorded + noise).astype(np.float32)
