# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Identity and semantic codes of the tracks of one camera, within a budget per frame.

The codes of a crop travel with the next latent of its track, because the latents of a frame do not
wait for them.

>>> encoder = CodeEncoder(load_code_model('semantic_text'), kinds_of('semantic'), mean)
>>> for latents, inputs, saliences, stamp_ns in frames:
...     done = encoder.encode(latents, inputs, saliences, stamp_ns)
...     [latent.codes for latent in done.latents]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

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
MAX_BATCH = 8
"""Crops of one job, which bounds the age of its codes and the time to stop."""
MAX_WAIT_NS = 1_000_000_000
"""Time after the crop within which a latent of its track must follow, nanoseconds; the codes are
dropped after it."""

Run = Callable[[Callable[[], None]], object]
"""Runs a job, immediately or in a thread of its own."""


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """The latents of a frame, with the codes of earlier crops, and the budget of further ones.

    `budget` is that of the frame in ATP, with the rest that earlier frames left. `shares` are
    those of the crops whose codes were due, and `tracks` their tracks; a share without a grant
    waits for a later frame.
    """

    latents: list[Latent]
    budget: int = 0
    shares: list[Share] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)


class _Ready(NamedTuple):
    """The codes of a crop, and its stamp."""

    codes: tuple[Code, ...]
    stamp_ns: int


@dataclass(eq=False)
class _Job:
    """The crops of a frame whose codes are computed; `ready` has them in the order of `latents`.

    It stays empty if the computation fails. `time_s` is the time that it took, seconds.
    """

    latents: list[Latent]
    images: np.ndarray
    stamp_ns: int
    ready: list[_Ready] = field(default_factory=list)
    time_s: float = 0.0
    ended: bool = False


def immediately(job: Callable[[], None]) -> None:
    """Run a job in the thread of the caller: codes then travel with exactly the next latent."""
    job()


class CodeEncoder:
    """Adds codes to the latents of one camera; use one instance for each camera.

    `kinds` are the codes to send. `latent_mean` `[D]` is that of the model of the latents. Codes
    are granted by the nominal cost of their model and not by the time that they take, so that a
    replay gives the same result on a loaded machine; they are no part of the telemetry of the
    latents. `run` runs the computation. At most one is in progress: until it ends, further crops
    wait, and the next job has the newest ones of their tracks. Semantic codes carry the confidence
    in their noun if the model has a vocabulary. Raises `ModelError` if that is damaged.

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
        run: Run = immediately,
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
        self._run = run
        self._job: _Job | None = None
        self._ready: dict[int, _Ready] = {}
        self._attached: dict[int, _Ready] = {}

    def encode(
        self,
        latents: Sequence[Latent],
        inputs: np.ndarray,
        saliences: Sequence[float],
        stamp_ns: int,
    ) -> CodedFrame:
        """Return the latents of a frame, with codes that have been computed, and compute others.

        `inputs` are the crops, float32 `[B, C, S, S]` in [0, 1] with C of 1 or 3, and `saliences`
        those of the crops. Raises as the model does if `run` runs jobs immediately.
        """
        self._collect()
        found = self._with_codes(latents, stamp_ns)
        due = self._schedule.due(latents, saliences, stamp_ns)
        shares = [Share(PLUGIN, each.item, 1.0, each.need) for each in due]
        tracks = [latents[share.item].track_id for share in shares]
        if self._job is not None:
            return CodedFrame(found, 0, shares, tracks)
        self._ledger.deposit(self._budget)
        budget = self._ledger.available
        chosen = shares[: min(budget // self._cost, MAX_BATCH)]
        for share in chosen:
            grant = self._ledger.grant(f'{PLUGIN} {share.item}', self._cost)
            share.granted = share.spent = grant.amount - self._ledger.settle(grant, grant.amount)
        if len(chosen) == len(shares):
            self._ledger.expire()
        if chosen:
            items = [share.item for share in chosen]
            self._job = job = _Job([latents[i] for i in items], inputs[items], stamp_ns)
            self._run(lambda: self._compute(job))
        return CodedFrame(found, budget, shares, tracks)

    def keep(self, track_id: int) -> None:
        """Keep the codes of a latent of the last frame for the next one: it was not sent."""
        if track_id in self._attached:
            self._ready[track_id] = self._attached.pop(track_id)

    def _collect(self) -> None:
        """Take the result of the last job, if it has ended."""
        job = self._job
        if job is None or not job.ended:
            return
        self._job = None
        self.time_s += job.time_s
        for latent, ready in zip(job.latents, job.ready, strict=False):
            self._ready[latent.track_id] = ready
            self._schedule.note(latent, job.stamp_ns)
            self.count += 1

    def _with_codes(self, latents: Sequence[Latent], stamp_ns: int) -> list[Latent]:
        """Return the latents of a frame with the codes that wait for them."""
        for track, ready in list(self._ready.items()):
            if abs(stamp_ns - ready.stamp_ns) > MAX_WAIT_NS:
                del self._ready[track]
                self._schedule.forget(track)
        self._attached = {
            latent.track_id: self._ready.pop(latent.track_id)
            for latent in latents
            if latent.track_id in self._ready
        }
        return [
            replace(latent, codes=latent.codes + self._attached[latent.track_id].codes)
            if latent.track_id in self._attached
            else latent
            for latent in latents
        ]

    def _compute(self, job: _Job) -> None:
        """Compute the codes of a job; this may run in another thread."""
        begun_s = time.perf_counter()
        try:
            images = job.images
            if images.shape[1] == 1:
                images = np.repeat(images, 3, axis=1)
            values = by_kind(self.model, self.kinds, images)
            trusts = self._trusts(values)
            codes = [self._packed(values, trusts, row) for row in range(len(images))]
            job.time_s = time.perf_counter() - begun_s
            job.ready = [_Ready(each, job.stamp_ns) for each in codes]
        finally:
            job.ended = True

    def _packed(
        self, values: Mapping[LatentKind, np.ndarray], trusts: np.ndarray, row: int
    ) -> tuple[Code, ...]:
        """Return the codes of one crop."""
        return tuple(
            Code(
                kind,
                self._spaces[kind],
                int(Encoding.INT8),
                pack_direction(values[kind][row]),
                int(trusts[row]) if kind is LatentKind.SEMANTIC else 0,
            )
            for kind in self.kinds
        )

    def _trusts(self, values: Mapping[LatentKind, np.ndarray]) -> np.ndarray:
        """Return the trust in each semantic code in units of 1/255, at least 1; 0: not known."""
        codes = values.get(LatentKind.SEMANTIC)
        if codes is None or self._vocabulary is None:
            return np.zeros(len(next(iter(values.values()))), int)
        return np.rint(self._vocabulary.confidence(codes) * 255).clip(1, 255).astype(int)
