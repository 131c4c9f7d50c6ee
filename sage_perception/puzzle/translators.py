# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Translation of LCTs from one kind of latent to another, by translators with a measured trust.

Each hop multiplies the trust by that of its translator, and adds a step to the provenance. The
path with the largest product is used; a result below the smallest trust that is wanted is
refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, ModelId
from sage_perception.core.lct import LCT, Operation, step_from

MAX_HOPS = 4


class TranslationRefused(ValueError):
    """An LCT that is not translated; the message has the reason, on one line."""


@dataclass(frozen=True)
class KindTranslator:
    """A translator between two spaces.

    Attributes:
        name: name, for messages.
        source, target: kinds of the latents.
        source_model, target_model: spaces of the latents.
        trust: measured probability that a translation keeps what is meant, in [0, 1].
        function: latent to latent.
        by_item: whether the trust in the telemetry of a result counts instead of `trust`, which
            is then only the expected one.
    """

    name: str
    source: LatentKind
    target: LatentKind
    source_model: ModelId
    target_model: ModelId
    trust: float
    function: Callable[[Latent], Latent]
    by_item: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.trust <= 1:
            raise ValueError(f'translator {self.name}: trust is {self.trust}, not in (0, 1]')


class TranslatorRegistry:
    """Translators, and paths of them from any space to a kind of latents."""

    def __init__(self) -> None:
        self._translators: list[KindTranslator] = []

    def register(self, translator: KindTranslator) -> None:
        """Add a translator; raise `ValueError` for a name that exists."""
        if any(each.name == translator.name for each in self._translators):
            raise ValueError(f'a translator {translator.name!r} is registered already')
        self._translators.append(translator)

    def path(self, source: ModelId, target: LatentKind) -> tuple[KindTranslator, ...]:
        """Return the translators of the path with the largest trust; empty if there is none."""
        queue: list[tuple[float, int, bytes, tuple[KindTranslator, ...]]] = []
        heapq.heappush(queue, (-1.0, 0, source.fingerprint, ()))
        count, reached = 0, set()
        while queue:
            negative, _, space, path = heapq.heappop(queue)
            if path and path[-1].target is target:
                return path
            if space in reached or len(path) == MAX_HOPS:
                continue
            reached.add(space)
            for each in self._translators:
                if each.source_model.fingerprint == space:
                    count += 1
                    heapq.heappush(
                        queue,
                        (
                            negative * each.trust, count, each.target_model.fingerprint,
                            (*path, each),
                        ),
                    )  # fmt: skip
        return ()

    def translate(
        self,
        lct: LCT,
        target: LatentKind,
        *,
        entity_id: str,
        next_sequence: Callable[[], int],
        min_trust: float = 0.0,
    ) -> LCT:
        """Return an LCT of the wanted kind, unsigned, with a step of `entity_id` for each hop.

        An LCT of that kind is returned as it is. Raises `TranslationRefused` if there is no path,
        for a latent of another kind than its space has, if the trust of the result is below
        `min_trust`, or if a result is not finite.
        """
        if lct.latent.kind is target:
            return lct
        path = self.path(lct.latent.model, target)
        if not path:
            raise TranslationRefused(
                f'no translator leads from {lct.latent.model} to {target.name}: register one'
            )
        expected = lct.trust * float(np.prod([each.trust for each in path]))
        if not expected >= min_trust:
            raise TranslationRefused(_too_low(path, expected, min_trust))
        for each in path:
            if lct.latent.kind is not each.source:
                raise TranslationRefused(
                    f'{each.name} takes no latent of this kind: {lct.latent.kind.name}'
                )
            latent = each.function(lct.latent)
            if latent.kind is not each.target or not np.isfinite(latent.mean).all():
                raise TranslationRefused(f'{each.name} returned no valid latent')
            trust = each.trust
            if each.by_item:
                trust = float(np.nan_to_num(latent.telemetry.trust).clip(0, 1))
            step = step_from(lct, Operation.TRANSLATE, entity_id, each.target_model, trust)
            lct = LCT.derived(
                latent,
                (*lct.provenance, step),
                entity_id=entity_id,
                sequence=next_sequence(),
                stamp_ns=lct.stamp_ns,
            )
        if not lct.trust >= min_trust:
            raise TranslationRefused(_too_low(path, lct.trust, min_trust))
        return lct


def _too_low(path: tuple[KindTranslator, ...], trust: float, min_trust: float) -> str:
    names = ' → '.join(each.name for each in path)
    return f'the trust is too low: after {names} it is {trust:.2f}, below {min_trust:.2f}'
