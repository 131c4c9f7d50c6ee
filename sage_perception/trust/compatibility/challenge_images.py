# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The images of a challenge, and a sender's latents of them.

They are apart from `compatibility.challenge`, which needs scipy: an encoder only answers.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

import numpy as np

from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.probe_images import render
from sage_perception.trust.compatibility.probe_set import scale

COUNT = 16
"""Number of images of a challenge."""
NONCE_BYTES = 32


def new_nonce() -> bytes:
    """Return a random nonce."""
    return secrets.token_bytes(NONCE_BYTES)


@lru_cache(maxsize=4)
def challenge_images(nonce: bytes) -> np.ndarray:
    """Return the images of a challenge, uint8 RGB `[COUNT, SIZE, SIZE, 3]`; takes 0.3 s.

    They are rendered like the probe images, from the SHA-256 of the nonce.
    """
    seed = int.from_bytes(hashlib.sha256(b'sage challenge' + nonce).digest(), 'little')
    images = render(COUNT, seed)
    images.flags.writeable = False
    return images


def challenge_latents(model: Model, nonce: bytes) -> np.ndarray:
    """Return a model's latents of the images of a challenge, float32 `[COUNT, D]`."""
    x = scale(challenge_images(nonce), model.input_size, model.input_channels)
    return np.asarray(model.encode(x), np.float32).reshape(COUNT, -1)
