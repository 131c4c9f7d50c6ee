# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The probe set: images that every entity can generate, so that only latents are exchanged.

Two entities that encode the same images can compare their latent spaces, and fit a map between
them, without sending each other an image. `probe_images` renders the set; `SHA256` identifies it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator

import numpy as np

from sage_perception.core.files import cache_folder, write_atomically
from sage_perception.core.reading import open_regular
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.probe_images import SIZE, render

VERSION = 1
COUNT = 512
"""Number of images."""
FITTED = 384
"""Number of images that maps are fitted on, the first ones; the others are held out to score."""
BATCH = 16
"""Images that are processed together, which bounds the memory use."""
SHA256 = 'dbef4629e07d7687ed2052dcd75cc9c8112767549b34a17b6bf9b1700a350e15'
"""Digest of all pixels."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in ITU-R BT.601."""


def images() -> np.ndarray:
    """Return the probe images, uint8 RGB `[COUNT, SIZE, SIZE, 3]`, read-only.

    Rendering takes seconds, so the images are kept in the user's cache folder. Processes that
    start at the same time wait for the first one to render. If the folder cannot be written, each
    process renders its own copy. They are 6 MB: do not keep them longer than needed.
    """
    path = cache_folder() / f'probes-{VERSION}.bin'
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(path.with_suffix('.lock'), 'w'))
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            shape = COUNT, SIZE, SIZE, 3
            with open_regular(path) as file, contextlib.suppress(ValueError):  # too short
                # Mapped, not read: processes share the pages, and return them to the kernel.
                stored = np.memmap(file, np.uint8, 'r', shape=shape)
                if hashlib.sha256(stored.data).hexdigest() == SHA256:
                    return stored
        rendered = render(COUNT, VERSION)
        with contextlib.suppress(OSError):
            write_atomically(path, rendered.tobytes())
    rendered.flags.writeable = False
    return rendered


def scale(rendered: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return rendered images as model input, float32 `[N, channels, size, size]` in [0, 1].

    `rendered` are uint8 RGB `[N, SIZE, SIZE, 3]`. Downscaling averages blocks of pixels, upscaling
    repeats pixels, gray is BT.601 luma. Raises `ValueError` for a size that neither divides `SIZE`
    nor is a multiple of it.
    """
    x = rendered.transpose(0, 3, 1, 2)
    if SIZE % size == 0:
        cell = SIZE // size
        x = x.reshape(-1, 3, size, cell, size, cell).sum((3, 5), np.int64) / (255 * cell**2)
    elif size % SIZE == 0:
        x = x.repeat(size // SIZE, 2).repeat(size // SIZE, 3) / 255
    else:
        raise ValueError(
            f'probe images of {SIZE} pixels cannot be scaled to size={size}: it must divide '
            f'{SIZE} or be a multiple of it'
        )
    if channels == 1:
        x = np.tensordot(LUMA, x, (0, 1))[:, None]
    return np.ascontiguousarray(x, np.float32)


def probe_latents(model: Model) -> np.ndarray:
    """Return a model's latents of the probe images, float32 `[COUNT, D]`, for publication."""
    rendered = images()
    encoded = [
        model.encode(scale(rendered[part], model.input_size, model.input_channels))
        for part in batches()
    ]
    return np.concatenate(encoded, dtype=np.float32).reshape(COUNT, -1)


def batches(start: int = 0) -> Iterator[slice]:
    """Yield slices of up to `BATCH` images that cover the set from image `start` on."""
    return (slice(first, min(first + BATCH, COUNT)) for first in range(start, COUNT, BATCH))
