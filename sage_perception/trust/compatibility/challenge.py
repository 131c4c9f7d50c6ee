# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Challenges of probe latents: new images that a sender must encode on request.

The probe images are public, so their latents can be copied, made up or distorted. A challenge has
a random nonce, which selects images that exist nowhere before. A sender that has the encoder of
its probe latents encodes them; the receiver compares the latents, through the latent map of the
probe latents, with its own.

>>> nonce = new_nonce()
>>> trust = challenge_trust(result, model, nonce, challenge_latents(sender, nonce))
"""

from __future__ import annotations

import math
import random

import numpy as np

from sage_perception.trust.compatibility.challenge_images import (
    COUNT,
    challenge_latents,
    new_nonce,
)
from sage_perception.trust.compatibility.estimator import (
    CompatibilityResult,
    clip_to_unit,
    mean_cosine,
)
from sage_perception.trust.compatibility.model import Model

MAX_LOSS = 0.15
"""Trust that an honest sender may lose between probe images and a challenge: it has few images."""


def challenge_trust(
    result: CompatibilityResult, model: Model, nonce: bytes, latents: np.ndarray
) -> float:
    """Return the trust in [0, 1] that the latents of a challenge support.

    It is the mean cosine between the sender's latents in the space of the receiver's `model` and
    its own, each minus the mean latent of the model, like the backward trust of the probe latents;
    0 for latents of another shape, or not finite. `result` is that of the probe latents.
    """
    latents = np.asarray(latents, np.float32)
    if latents.shape != (COUNT, result.latent_map.input_dim) or not np.isfinite(latents).all():
        return 0.0
    translated = result.latent_map.apply(latents) if result.calibrated else latents
    own = challenge_latents(model, nonce)
    if translated.shape != own.shape:
        return 0.0
    mean = np.asarray(model.latent_mean, np.float64).ravel()
    return clip_to_unit(mean_cosine(translated - mean, own - mean))


def passes(result: CompatibilityResult, trust: float) -> bool:
    """Return whether the trust that a challenge supports is that of the probe latents."""
    return trust >= result.trust.backward - MAX_LOSS


class Challenges:
    """The challenges of one sender: when the next one is due, and whether the last ones failed.

    They are issued at random times, on average every `period_s` seconds, so that a sender cannot
    prepare; 0: never. All times are nanoseconds on one clock.
    """

    TIMEOUT_NS = 30_000_000_000
    MAX_MISSED = 3

    def __init__(self, period_s: float = 60.0) -> None:
        self.passed = self.missed = 0
        self.trust = math.nan
        self.nonce = b''
        self._period_s = period_s
        self._wrong = False
        self._due_ns = 0
        self._issued_ns = 0

    @property
    def failed(self) -> bool:
        """Whether the last answer was wrong, or `MAX_MISSED` challenges were not answered."""
        return self._wrong or self.missed >= self.MAX_MISSED

    def next(self, now_ns: int) -> bytes | None:
        """Return the nonce of a challenge to send now; None if none is due, or one is open."""
        if not self._period_s:
            return None
        if self.nonce and 0 <= now_ns - self._issued_ns < self.TIMEOUT_NS:
            return None
        if self.nonce:
            self.missed, self.nonce = self.missed + 1, b''
        # A clock that was set back must not end the challenges.
        if now_ns < self._due_ns <= now_ns + round(2e9 * self._period_s):
            return None
        self.nonce, self._issued_ns = new_nonce(), now_ns
        wait_s = random.SystemRandom().uniform(0.5, 1.5) * self._period_s
        self._due_ns = now_ns + round(wait_s * 1e9)
        return self.nonce

    def close(self, nonce: bytes) -> bool:
        """Return whether `nonce` is that of the open challenge, and close it."""
        if not nonce or nonce != self.nonce:
            return False
        self.nonce = b''
        return True

    def note(self, trust: float, passed: bool) -> None:
        """Take account of the trust that an answer supports."""
        self.trust, self._wrong, self.missed = trust, not passed, 0
        self.passed += passed
