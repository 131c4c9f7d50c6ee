# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Translation of LCTs of other models into one latent space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sage_perception.core.lct import LCT, Operation, step_from
from sage_perception.trust.compatibility.estimator import CompatibilityResult
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.report import Level
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.validation import find_latent_fault


class Translator:
    """Translates LCTs into the latent space of `model`, as the entity `entity_id`."""

    def __init__(self, model: Model, entity_id: str, next_sequence: Callable[[], int]):
        """Prepare; `next_sequence` is called once for each translated LCT."""
        self._model_id = model.id
        self._dim = model.latent_mean.size
        self._entity_id = entity_id
        self._next_sequence = next_sequence

    def translate(self, lct: LCT, result: CompatibilityResult | None) -> LCT | RejectionReason:
        """Return an LCT in the latent space of the model, or the reason for its rejection.

        `result` is the compatibility of its sender; one of another latent space counts as None. An
        LCT of the model itself is returned unchanged, unless its measured trust has the level
        NONE. A translated LCT has one more step, with the measured trust, and no signature.
        """
        latent, own = lct.latent, self._model_id
        if result is not None and result.sender.fingerprint != latent.model.fingerprint:
            result = None
        is_own = latent.model.fingerprint == own.fingerprint
        if result is None:
            return lct if is_own else RejectionReason.NOT_MEASURED
        if result.trust.level is Level.NONE:
            return RejectionReason.INCOMPATIBLE
        if is_own:
            return lct
        if latent.dim != result.latent_map.input_dim:
            return RejectionReason.DIMENSION
        log_var = latent.log_var
        if log_var is not None and result.calibrated:
            log_var = result.latent_map.apply_log_var(log_var[None])[0]
        mean = result.translate(latent.mean[None])[0]
        translated = replace(latent, mean=mean, log_var=log_var, model=own)
        if fault := find_latent_fault(translated, self._dim):
            return fault
        trust = result.trust.compression_trust
        step = step_from(lct, Operation.TRANSLATE, self._entity_id, own, trust)
        return LCT.derived(
            translated,
            (*lct.provenance, step),
            entity_id=self._entity_id,
            sequence=self._next_sequence(),
            stamp_ns=lct.stamp_ns,
        )
