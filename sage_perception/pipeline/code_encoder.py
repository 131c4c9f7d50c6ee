# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Identity and semantic codes of the tracks of one camera, within a budget per frame.

>>> encoder = CodeEncoder(load_code_model('semantic_text'), kinds_of('semantic'), mean)
>>> done = encoder.encode(latents, inputs, saliences, stamp_ns)
>>> [latent.codes for latent in done.latents]
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sage_perception.codecs.directions import pack_direction
from sage_perception.codecs.packing import Encoding
from sage_perception.core.latent import Code, Latent, LatentKind
from sage_perception.irp.ledger import Ledger, atp_of
from sage_perception.irp.orchestrator import Share
from sage_perception.models.semantic.image_codes import ImageCodes
from sage_perception.models.semantic.vocabulary import installed_vocabulary
from sage_perception.pipeline.code_models import by_kind, space_of
from sage_perception.pipeline.code_schedule import CodePolicy, CodeSchedule

PLUGIN = 'codes'
"""Name of the shares of codes in the budget of a frame."""


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """The latents of a frame with their codes, and what the codes cost.

    `budget` is that of the frame in ATP, with the rest that earlier frames left. `shares` are
    those of the crops whose codes were due, and `tracks` their tracks; a share without a grant
    waits for a later frame. `time_s` is the time that the codes took, seconds.
    """

    latents: list[Latent]
    budget: int = 0
    shares: list[Share] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)
    time_s: float = 0.0


class CodeEncoder:
    """Adds codes to the latents of one camera; use one instance for each camera.

    `kinds` are the codes to send. `latent_mean` `[D]` is that of the model of the latents. Codes
    are granted by the nominal cost of their model and not by the time that they take, so that a
    replay gives the same result on a loaded machine; the telemetry has the time. Semantic codes
    carry the confidence in their nearest noun if the model has a vocabulary. Raises `ModelError`
    if that is damaged.

    Attributes:
        count: number of crops whose codes were computed.
        time_s: time that they took, seconds.
    """

    def __init__(
        self,
        model: ImageCodes,
        kinds: Sequence[LatentKind],
        latent_mean: np.ndarray,
        policy: CodePolicy | None = None,
    ) -> None:
        self.model, self.kinds = model, tuple(kinds)
        self.count, self.time_s = 0, 0.0
        policy = policy or CodePolicy()
        self._schedule = CodeSchedule(np.asarray(latent_mean).ravel(), policy)
        self._spaces = {kind: space_of(model, kind) for kind in self.kinds}
        semantic = space_of(model, LatentKind.SEMANTIC)
        self._vocabulary = installed_vocabulary(semantic.fingerprint)
        self._ledger, self._budget = Ledger(), atp_of(policy.budget_ms)
        self._cost = max(atp_of(model.cost_ms), 1)

    def encode(
        self,
        latents: Sequence[Latent],
        inputs: np.ndarray,
        saliences: Sequence[float],
        stamp_ns: int,
    ) -> CodedFrame:
        """Return the latents of a frame, some of them with codes.

        `inputs` are the crops, float32 `[B, C, S, S]` in [0, 1] with C of 1 or 3, and `saliences`
        those of the crops.
        """
        due = self._schedule.due(latents, saliences, stamp_ns)
        self._ledger.deposit(self._budget)
        budget = self._ledger.available
        shares = [Share(PLUGIN, each.item, 1.0, each.need) for each in due]
        chosen = shares[: budget // self._cost]
        for share in chosen:
            grant = self._ledger.grant(f'{PLUGIN} {share.item}', self._cost)
            share.granted = share.spent = grant.amount - self._ledger.settle(grant, grant.amount)
        if len(chosen) == len(shares):
            self._ledger.expire()
        found = list(latents)
        elapsed_s = self._compute(found, inputs, [s.item for s in chosen], stamp_ns)
        tracks = [latents[share.item].track_id for share in shares]
        return CodedFrame(found, budget, shares, tracks, elapsed_s)

    def forget(self, track_id: int) -> None:
        """Compute the codes of a track again, because its latent was not sent."""
        self._schedule.forget(track_id)

    def _compute(
        self, latents: list[Latent], inputs: np.ndarray, chosen: Sequence[int], stamp_ns: int
    ) -> float:
        """Add the codes of the chosen latents; return the time that it took, seconds."""
        if not chosen:
            return 0.0
        begun_s = time.perf_counter()
        images = inputs[list(chosen)]
        if images.shape[1] == 1:
            images = np.repeat(images, 3, axis=1)
        values = by_kind(self.model, self.kinds, images)
        trusts = self._trusts(values)
        elapsed_s = time.perf_counter() - begun_s
        for row, index in enumerate(chosen):
            latent = latents[index]
            codes = tuple(
                Code(
                    kind,
                    self._spaces[kind],
                    int(Encoding.INT8),
                    pack_direction(values[kind][row]),
                    int(trusts[row]) if kind is LatentKind.SEMANTIC else 0,
                )
                for kind in self.kinds
            )
            telemetry = replace(
                latent.telemetry,
                time_s=latent.telemetry.time_s + elapsed_s / len(chosen),
                budget_spent=latent.telemetry.budget_spent + self._cost,
            )
            latents[index] = replace(latent, codes=latent.codes + codes, telemetry=telemetry)
            self._schedule.note(latent, stamp_ns)
        self.count += len(chosen)
        self.time_s += elapsed_s
        return elapsed_s

    def _trusts(self, values: Mapping[LatentKind, np.ndarray]) -> np.ndarray:
        """Return the trust in each semantic code in units of 1/255, at least 1; 0: not known."""
        codes = values.get(LatentKind.SEMANTIC)
        if codes is None or self._vocabulary is None:
            return np.zeros(len(next(iter(values.values()))), int)
        return np.rint(self._vocabulary.confidence(codes) * 255).clip(1, 255).astype(int)
