# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic images and a video clip for training and evaluation."""

import cv2
import numpy as np


def scene(seed, side):
    """Return an image of disks and noise on a gradient, uint8 `[side, side, 3]`."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(*rng.uniform(40, 215, 2), side)
    image = np.ascontiguousarray(np.broadcast_to(ramp[:, None, None], (side, side, 3)), np.uint8)
    for _ in range(12):
        center = tuple(int(v) for v in rng.integers(0, side, 2))
        color = tuple(float(v) for v in rng.uniform(0, 255, 3))
        cv2.circle(image, center, int(rng.integers(4, 30)), color, -1, cv2.LINE_AA)
    return (image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def write_scenes(folder, count):
    """Write `image0.png` … and `clip.avi`, in which a disk crosses the first image."""
    for seed in range(count):
        cv2.imwrite(str(folder / f'image{seed}.png'), scene(seed, 160))
    codec = cv2.VideoWriter.fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(folder / 'clip.avi'), codec, 25, (160, 160))
    ground = scene(0, 160)
    for index in range(50):
        frame = ground.copy()
        cv2.circle(frame, (5 + 3 * index, 80), 16, (255, 255, 255), -1)
        writer.write(frame)
    writer.release()
    return folder
