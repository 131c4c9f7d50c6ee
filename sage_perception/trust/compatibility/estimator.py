# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compatibility of a sender's latents with a receiver's model, measured on the probe set.

>>> estimator = CompatibilityEstimator(load('tinyvae'))
>>> result = estimator.evaluate(latents_of_the_probe_set, sender_model_id)
>>> z = result.translate(received)

**Forward trust** is the gain in PSNR of the receiver's decoder on the sender's latents of the
held-out probe images, over images of each probe's mean color, relative to the gain of the
receiver's own latents. If the receiver has no gain on its own latents, such as a slot model that
decodes one color, forward trust is the R² of the images decoded from the sender's latents against
those decoded from its own. **Backward trust** is the mean cosine between the sender's and the
receiver's latents of the same image, each minus their mean. `compression_trust` is the smaller of
the two (specification of the VAE translation layer, sections 7.3 and 10.3). Both are 1 for equal
models and near 0 for unrelated latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.core.metrics import batch_psnr
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.latent_map import LatentMap, fit_latent_map, r_squared
from sage_perception.trust.compatibility.map_cache import find_latent_map, store_latent_map
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.report import NO_TRUST, Level, MeasuredTrust, TrustReport


@dataclass(frozen=True, eq=False)
class CompatibilityResult:
    """The trust in a sender's latents as sent (`before`) and after the latent map (`after`).

    `own_psnr` is that of the receiver's decoder on its own latents of the same images, dB.
    """

    sender: ModelId
    before: MeasuredTrust
    after: MeasuredTrust
    latent_map: LatentMap
    own_psnr: float

    @property
    def calibrated(self) -> bool:
        """Return whether latents are translated by the map before use.

        They are not if their trust is HIGH as sent, if the map does not raise it, or if they have
        the receiver's own fingerprint, which claims that they are in its latent space.
        """
        if self.before.level is Level.HIGH or self.sender.fingerprint == self.latent_map.receiver:
            return False
        return self.after.compression_trust > self.before.compression_trust

    @cached_property
    def trust(self) -> MeasuredTrust:
        """Return the trust in the latents that `translate` returns."""
        return self.after if self.calibrated else self.before

    @property
    def recovered_db(self) -> float:
        """Return the gain in PSNR by the map, dB; NaN if latents cannot be decoded as sent."""
        return self.after.psnr - self.before.psnr

    @property
    def decision(self) -> str:
        """Return a description of how the sender's latents are used."""
        now, before = self.trust.compression_trust, self.before.compression_trust
        if self.trust.level is Level.NONE:
            return f'rejected: trust {now:.2f} even after alignment'
        if self.calibrated:
            return f'translated: trust {now:.2f}, {before:.2f} without ({self.latent_map.method})'
        return f'shared directly: trust {now:.2f}'

    def translate(self, z: np.ndarray) -> np.ndarray:
        """Return latents `[B, D]` of the sender in the receiver's space, float32 `[B, E]`.

        Raises `ValueError` if their trust has the level NONE.
        """
        if self.trust.level is Level.NONE:
            raise ValueError(f'latents of {self.sender} are {self.decision}')
        return self.latent_map.apply(z) if self.calibrated else np.asarray(z, np.float32)

    def report(self, receiver: str, sender: str) -> TrustReport:
        """Return the trust report between two entities, named by their identities."""
        return TrustReport(
            entity_a=receiver,
            entity_b=sender,
            model_b=self.sender,
            forward=self.trust.forward,
            backward=self.trust.backward,
            calibrated=self.calibrated,
            probes=probe_set.COUNT,
            reason=self.decision,
        )


class CompatibilityEstimator:
    """Evaluates latents of other models for the use by one model.

    It encodes the probe images once, and decodes the held-out ones once.

    Attributes
    ----------
    model : Model
        The receiver.
    latents : np.ndarray
        Its own latents of the probe images, float32 `[probe_set.COUNT, E]`.

    """

    def __init__(self, model: Model, cache: Path | None = None):
        """Encode the probe images; `cache` is a folder that stores latent maps, if any."""
        self.model = model
        self.latents = probe_set.probe_latents(model)
        self._cache = cache

    @cached_property
    def _held_out(self) -> np.ndarray:
        """Return the held-out probe images; a copy, so that the others are released."""
        return probe_set.images()[probe_set.FITTED :].copy()

    @cached_property
    def own_psnr(self) -> float:
        """Return the PSNR of the model's reconstruction of the held-out probe images, dB."""
        return self._decoded_psnr(self.latents)

    @cached_property
    def mean_color_psnr(self) -> float:
        """Return the PSNR of images that have each probe's mean color, dB."""
        return self._psnr(lambda x, _: x.mean((2, 3), keepdims=True))

    def evaluate(
        self, theirs: np.ndarray, sender: ModelId, force: bool = False
    ) -> CompatibilityResult:
        """Evaluate a sender by its latents of the probe images, `[probe_set.COUNT, D]`.

        Takes milliseconds to fit a map, and the time to decode the held-out images twice. A stored
        map is used again if it still fits, unless `force` is set. Raises `ValueError` unless
        `theirs` has one finite latent for each image.
        """
        theirs = np.asarray(theirs, np.float32)
        if theirs.ndim != 2 or len(theirs) != probe_set.COUNT or not np.isfinite(theirs).all():
            raise ValueError(
                f'probe latents of {sender} have shape {list(theirs.shape)}: they must be finite '
                f'[{probe_set.COUNT}, D], one for each image of probe set {probe_set.VERSION}'
            )
        latent_map = self._latent_map(theirs, sender, force)
        same_dim = theirs.shape[1] == self.latents.shape[1]
        before = self.measure(theirs) if same_dim else NO_TRUST
        after = NO_TRUST
        if latent_map.significant:
            after = self.measure(latent_map.apply(theirs))
        return CompatibilityResult(sender, before, after, latent_map, self.own_psnr)

    def measure(self, latents: np.ndarray) -> MeasuredTrust:
        """Return the trust in latents of the probe images in the model's own space, `[N, E]`."""
        quality = self._decoded_psnr(latents)
        margin = self.own_psnr - self.mean_color_psnr
        if margin > 0:
            gain = (quality - self.mean_color_psnr) / margin
        else:
            gain = r_squared(self._decoded(latents), self._decoded(self.latents))
        theirs, ours = (
            z[probe_set.FITTED :] - z[: probe_set.FITTED].mean(0) for z in (latents, self.latents)
        )
        return MeasuredTrust(clip_to_unit(gain), clip_to_unit(mean_cosine(theirs, ours)), quality)

    def _shaped(self, latents: np.ndarray) -> np.ndarray:
        """Return latents as the decoder takes them, float32."""
        return np.asarray(latents, np.float32).reshape(-1, *self.model.latent_shape)

    def _decoded(self, latents: np.ndarray) -> np.ndarray:
        """Return the images decoded from latents of the held-out probe images, `[N, …]`."""
        z = self._shaped(latents)
        batches = probe_set.batches(probe_set.FITTED)
        return np.concatenate([self.model.decode(z[part]) for part in batches])

    def _decoded_psnr(self, latents: np.ndarray) -> float:
        z = self._shaped(latents)
        return self._psnr(lambda _, part: self.model.decode(z[part]))

    def _psnr(self, predict: Callable[[np.ndarray, slice], np.ndarray]) -> float:
        """Return the mean PSNR of predictions of the held-out probe images, dB."""
        total, first = 0.0, probe_set.FITTED
        for part in probe_set.batches(first):
            images = self._held_out[part.start - first : part.stop - first]
            x = probe_set.scale(images, self.model.input_size, self.model.input_channels)
            total += float(batch_psnr(predict(x, part), x).sum())
        return total / (probe_set.COUNT - probe_set.FITTED)

    def _latent_map(self, theirs: np.ndarray, sender: ModelId, force: bool) -> LatentMap:
        pair = sender.fingerprint, self.model.id.fingerprint
        if self._cache is not None and not force:
            stored = find_latent_map(self._cache, *pair)
            held_out = theirs[probe_set.FITTED :], self.latents[probe_set.FITTED :]
            if stored is not None and stored.still_fits(*held_out):
                return stored
        fitted = fit_latent_map(theirs, self.latents, *pair)
        if self._cache is not None and fitted.significant:
            store_latent_map(self._cache, fitted)
        return fitted


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean cosine similarity of equal rows of `a` and `b`, both `[N, D]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((np.sum(a * b, 1) / np.maximum(lengths, np.finfo(float).tiny)).mean())


def clip_to_unit(value: float) -> float:
    """Return a number clipped to [0, 1]; 0 for NaN."""
    return min(float(value), 1.0) if value > 0 else 0.0
