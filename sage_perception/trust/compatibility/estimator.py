# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How far one's own model can use the latents of another: measured, not assumed.

>>> listener = Listener(load('tinyvae'))
>>> heard = listener.hear(latents_of_the_probes, sender_model)
>>> z = heard.translate(received)

**Forward trust**: what the receiver's decoder makes of the latents that the sender gave the
held-back probes. The receiver's own latents gain some decibels over images of each probe's mean
color; it is the share of them that arrives. **Backward trust**: the mean cosine between the
sender's and the receiver's latents of the same image, less the mean of each.
`compression_trust` is the smaller one (VAE translation layer, sections 7.3 and 10.3). Both are 1
for the same model and near 0 for latents of anything else.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.core.metrics import batch_psnr
from sage_perception.trust.compatibility import probe_images as probes
from sage_perception.trust.compatibility.latent_map import Calibration, calibrate, place, recall
from sage_perception.trust.compatibility.probe_images import probe_latents


class Level(enum.IntEnum):
    """How far latents may be shared; the values of `sage_msgs/TrustReport`'s LEVEL_ constants."""

    UNKNOWN = 0
    NONE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4

    @classmethod
    def of(cls, trust: float) -> Level:
        """Return the level of a trust in [0, 1]; of NaN, which is not measured, UNKNOWN."""
        if math.isnan(trust):
            return cls.UNKNOWN
        return cls(cls.NONE + sum(trust >= bound for bound in (0.5, 0.7, 0.9)))

    @property
    def action(self) -> str:
        """Return what is to be done with latents of this level (section 7.3)."""
        return ACTIONS[self]


ACTIONS = {
    Level.UNKNOWN: 'not measured: refuse',
    Level.NONE: 'incompatible: refuse',
    Level.LOW: 'significant translation needed',
    Level.MEDIUM: 'minor calibration',
    Level.HIGH: 'share directly',
}


@dataclass(frozen=True)
class Trust:
    """What was measured of latents on the held-back probes.

    `forward` and `backward` are in [0, 1]; `psnr` is that of the decoded images, dB, NaN where
    nothing can be decoded.
    """

    forward: float
    backward: float
    psnr: float

    @property
    def compression_trust(self) -> float:
        """Return the smaller of both."""
        return min(self.forward, self.backward)

    @property
    def level(self) -> Level:
        """Return the level of the compression trust."""
        return Level.of(self.compression_trust)


NOTHING = Trust(0.0, 0.0, math.nan)


@dataclass(frozen=True)
class Report:
    """The fields of `sage_msgs/TrustReport` but the header: `entity_a` receives from `entity_b`.

    Trusts and `reputation` are in [0, 1], NaN where not known; `accepted` and `refused` count
    LCTs.
    """

    entity_a: str
    entity_b: str
    model_b: ModelId
    forward: float
    backward: float
    calibrated: bool
    probes: int
    reason: str
    accepted: int = 0
    refused: int = 0
    reputation: float = math.nan

    @property
    def compression_trust(self) -> float:
        """Return the smaller of both; NaN if either is."""
        return float(np.minimum(self.forward, self.backward))

    @property
    def level(self) -> Level:
        """Return the level of the compression trust."""
        return Level.of(self.compression_trust)


@dataclass(frozen=True, eq=False)
class CompatibilityResult:
    """What a listener makes of a sender: trust as it is and through the calibration.

    `own_psnr` is what the listener's own latents of the same images decode to, dB.
    """

    sender: ModelId
    before: Trust
    after: Trust
    calibration: Calibration
    own_psnr: float

    @property
    def calibrated(self) -> bool:
        """Whether latents are translated: not if they are good as they are, or it is no use.

        Nor with the listener's own fingerprint, which promises that they are its own.
        """
        if self.before.level is Level.HIGH or self.sender.fingerprint == self.calibration.receiver:
            return False
        return self.after.compression_trust > self.before.compression_trust

    @property
    def trust(self) -> Trust:
        """Return the trust in what `translate` returns."""
        return self.after if self.calibrated else self.before

    @property
    def recovered_db(self) -> float:
        """Return by how much the calibration improves images, dB; NaN without any before."""
        return self.after.psnr - self.before.psnr

    @property
    def decision(self) -> str:
        """Return what happens to the sender's latents, in words."""
        now, before = self.trust.compression_trust, self.before.compression_trust
        if self.trust.level is Level.NONE:
            return f'refused: trust {now:.2f} even after calibration'
        if self.calibrated:
            return f'translated: trust {now:.2f}, {before:.2f} without ({self.calibration.method})'
        return f'shared directly: trust {now:.2f}'

    def translate(self, z: np.ndarray) -> np.ndarray:
        """Return latents `[B, D]` of the sender as the listener's, float32 `[B, E]`.

        Raises `ValueError` if they are not trusted at all.
        """
        if self.trust.level is Level.NONE:
            raise ValueError(f'latents of {self.sender} are {self.decision}')
        return self.calibration.apply(z) if self.calibrated else np.asarray(z, np.float32)

    def report(self, receiver: str, sender: str) -> Report:
        """Return the report between two entities."""
        return Report(
            entity_a=receiver,
            entity_b=sender,
            model_b=self.sender,
            forward=self.trust.forward,
            backward=self.trust.backward,
            calibrated=self.calibrated,
            probes=probes.COUNT,
            reason=self.decision,
        )


class Model(Protocol):
    """What is asked of a model: `sage_perception.models.Codec` has it all."""

    id: ModelId
    input_size: int
    input_channels: int
    latent_shape: tuple[int, ...]
    latent_mean: np.ndarray

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return latents `[B, *latent_shape]` of images `[B, C, S, S]` in [0, 1]."""

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return images of latents."""


class CompatibilityEstimator:
    """A model that judges what others say; `cache` is a folder for calibrations.

    Encodes all probes, and decodes the held-back ones, once.
    """

    def __init__(self, model: Model, cache: Path | None = None):
        self.model = model
        self.cache = cache
        self.latents = probe_latents(model)

    @cached_property
    def own_psnr(self) -> float:
        """Return what its own latents of the held-back probes decode to, dB."""
        return self._quality(self.latents)

    @cached_property
    def _plain_psnr(self) -> float:
        """Return what is gained by knowing the mean colors, dB."""
        return self._psnr(lambda x, _: x.mean((2, 3), keepdims=True))

    def hear(
        self, theirs: np.ndarray, sender: ModelId, force: bool = False
    ) -> CompatibilityResult:
        """Judge a sender by its latents of the probes, float32 `[probes.COUNT, D]`.

        Takes milliseconds to fit a map, and the time to decode the held-back probes twice. A
        stored calibration that still fits is used, unless `force`.
        Raises `ValueError` for latents that are none of all probes, or not finite.
        """
        theirs = np.asarray(theirs, np.float32)
        if theirs.ndim != 2 or len(theirs) != probes.COUNT or not np.isfinite(theirs).all():
            raise ValueError(
                f'probe latents of {sender} are {list(theirs.shape)}, they must be finite '
                f'[{probes.COUNT}, D]: one of each image of probe set {probes.VERSION}'
            )
        calibration = self._calibration(theirs, sender, force)
        alike = theirs.shape[1] == self.latents.shape[1]
        before = self.measure(theirs) if alike else NOTHING
        after = NOTHING
        if calibration.significant:
            after = self.measure(calibration.apply(theirs))
        return CompatibilityResult(sender, before, after, calibration, self.own_psnr)

    def measure(self, latents: np.ndarray) -> Trust:
        """Return the trust in latents of all probes that are taken for the listener's own."""
        quality = self._quality(latents)
        margin = self.own_psnr - self._plain_psnr
        gain = (quality - self._plain_psnr) / margin if margin > 0 else 0.0
        theirs, ours = (
            z[probes.FITTED :] - z[: probes.FITTED].mean(0) for z in (latents, self.latents)
        )
        return Trust(share(gain), share(mean_cosine(theirs, ours)), quality)

    def _quality(self, latents: np.ndarray) -> float:
        z = np.asarray(latents, np.float32).reshape(-1, *self.model.latent_shape)
        return self._psnr(lambda _, part: self.model.decode(z[part]))

    def _psnr(self, shown: Callable[[np.ndarray, slice], np.ndarray]) -> float:
        """Return how near to the held-back probes is what is shown of them, dB."""
        total = 0.0
        for part in probes.parts(probes.FITTED):
            x = probes.to_input(self.model.input_size, self.model.input_channels, part)
            total += batch_psnr(shown(x, part), x).sum()
        return total / (probes.COUNT - probes.FITTED)

    def _calibration(self, theirs: np.ndarray, sender: ModelId, force: bool) -> Calibration:
        pair = sender.fingerprint, self.model.id.fingerprint
        stored = None if self.cache is None or force else recall(self.cache, *pair)
        held_back = theirs[probes.FITTED :], self.latents[probes.FITTED :]
        if stored is not None and stored.still_fits(*held_back):
            return stored
        fresh = calibrate(theirs, self.latents, *pair)
        if self.cache is not None and fresh.significant:
            fresh.save(place(self.cache, *pair))
        return fresh


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean cosine between rows of `a` and `b`, both `[N, D]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((np.sum(a * b, 1) / np.maximum(lengths, np.finfo(float).tiny)).mean())


def share(value: float) -> float:
    """Return a number bounded to [0, 1]; 0 for NaN, which comparisons tell apart."""
    return min(float(value), 1.0) if value > 0 else 0.0
