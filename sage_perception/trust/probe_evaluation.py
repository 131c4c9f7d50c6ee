# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates probe latents of cameras, and keeps the results of earlier evaluations."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sage_perception.trust.compatibility.estimator import (
    CompatibilityEstimator,
    CompatibilityResult,
)
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.security.announcements import ProbeSet

MAX_CACHED_RESULTS = 64


class ProbeEvaluator:
    """Measures how well a model can use the latents of others, by default the arbiter's `model`.

    `cache` is a folder for latent maps. The estimator of `model` is created on first use, because
    it encodes all probe images.
    """

    def __init__(self, model: Model, cache: Path | None = None) -> None:
        self._model = model
        self._cache = cache
        self._estimator: CompatibilityEstimator | None = None
        self._results: dict[bytes, CompatibilityResult] = {}

    def evaluate(
        self, probes: ProbeSet, force: bool = False, model: Model | None = None
    ) -> CompatibilityResult:
        """Return how well `model`, or the evaluator's model, can use the latents of a probe set.

        Takes about a second, unless the same latents were evaluated before; `force` measures
        again.
        """
        estimator = self._own() if model is None else CompatibilityEstimator(model, self._cache)
        receiver = estimator.model.id.fingerprint
        content = probes.model.fingerprint + receiver + probes.latents.tobytes()
        key = hashlib.sha256(content).digest()
        if force or key not in self._results:
            while len(self._results) >= MAX_CACHED_RESULTS:
                del self._results[next(iter(self._results))]
            self._results[key] = estimator.evaluate(probes.latents, probes.model, force)
        return self._results[key]

    def _own(self) -> CompatibilityEstimator:
        if self._estimator is None:
            self._estimator = CompatibilityEstimator(self._model, self._cache)
        return self._estimator
