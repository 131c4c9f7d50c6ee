# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Building of contexts and their compression into codes.

>>> encoder = ContextEncoder(load_compressor('h_to_l_hybrid'), ['cam0', 'cam1'])
>>> encoder.builder.add_frame('cam0', stamp_s, (640, 480), lcts)
>>> encoded = encoder.encode(stamp_ns, Identity('compressor'))
>>> encoded.context.values, encoded.lct.latent.mean  # float32 [4096], float32 [256]
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.context.builder import ContextBuilder
from sage_perception.context.context import HContext
from sage_perception.context.layout import DIM, LAYOUT
from sage_perception.context.space import LatentSpace
from sage_perception.core.latent import Latent, LatentKind, Telemetry
from sage_perception.core.lct import LCT, Operation, Provenance, step_from
from sage_perception.core.metrics import kl_per_dim
from sage_perception.models import Compressor, ModelError
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.limits import MAX_CHAIN


@dataclass(frozen=True, eq=False)
class EncodedContext:
    """A context and its code; `lct` is None for a context without items."""

    context: HContext
    lct: LCT | None


class ContextEncoder:
    """Builds contexts of the latents of one model and compresses them.

    `cameras` and `window_s` are explained in `ContextBuilder`. `retained` is the share of the
    energy of the last context that its code retains, in [0, 1]. `packer` unpacks the latents of a
    context.

    Raises `ModelError` if the compressor is for another layout or its codebook cannot be read, and
    `ValueError` if the statistics of its latents are invalid.
    """

    def __init__(self, compressor: Compressor, cameras: Sequence[str] = (), window_s: float = 2.0):
        if compressor.layout != LAYOUT:
            raise ModelError(
                f'{compressor.id} is for layout {compressor.layout} of contexts, this version '
                f'uses layout {LAYOUT}: train the compressor again'
            )
        self.compressor = compressor
        mean, std = compressor.space_mean, compressor.space_std
        self.packer = Packer(mean, std, codebook.installed(compressor.latents))
        self.builder = ContextBuilder(
            LatentSpace.of(compressor.latents, mean, std), cameras, window_s
        )
        self.retained = 0.0

    def warm_up(self) -> None:
        """Run the compressor once, so that the first context takes no longer than the others."""
        blank = np.zeros((1, DIM), np.float32)
        self.compressor.decompress(self.compressor.compress(blank, blank))

    def encode(self, stamp_ns: int, identity: Identity) -> EncodedContext:
        """Build the present context and compress it.

        `stamp_ns` is the stamp of the code, that of the newest frame. `identity` gives entity and
        sequence number of its LCT.
        """
        begun = time.perf_counter()
        context = self.builder.build()
        if not context.keys:
            return EncodedContext(context, None)
        mean, log_var = self.compressor.compress_stats(context.values[None], context.mask[None])
        self.retained = self._retained(context, mean)
        chain = self._provenance(context, identity.entity_id)
        telemetry = Telemetry(
            trust=self.retained,
            kl_per_dim=float(kl_per_dim(mean[0], log_var[0])),
            latent_norm=float(np.linalg.norm(mean)),
            time_s=time.perf_counter() - begun,
        )
        code = Latent(
            mean[0],
            log_var[0],
            LatentKind.L_CONTEXT,
            self.compressor.id,
            telemetry=telemetry,
        )
        lct = LCT.derived(
            code,
            chain,
            entity_id=identity.entity_id,
            sequence=identity.next_sequence(),
            stamp_ns=stamp_ns,
        )
        return EncodedContext(context, lct)

    def _retained(self, context: HContext, code: np.ndarray) -> float:
        """Return the share of the energy of the known values that a code `[1, 256]` retains."""
        error = (self.compressor.decompress(code)[0] - context.values) * context.mask
        energy = np.square(context.values, dtype=np.float64).sum()
        return float(np.clip(1 - np.square(error).sum() / max(energy, 1e-12), 0, 1))

    def _provenance(self, context: HContext, entity: str) -> tuple[Provenance, ...]:
        """Return the provenance of a code.

        The chain extends that of the most salient LCT. The first COMPRESS step costs the trust
        that the code loses of the context, and the trust that the other items lack compared to
        the first. A context has more parents than a chain can hold: the most salient ones are
        listed.
        """
        lcts = [self.builder.newest_lct(key) for key in context.keys]
        first, model = lcts[0], self.compressor.id
        mean_trust = float(np.mean([lct.trust for lct in lcts]))
        trust = self.retained * min(mean_trust / first.trust, 1.0) if first.trust else 0.0
        step = step_from(first, Operation.COMPRESS, entity, model, trust)
        chain = (*first.provenance, step)
        parents = {each.parent_id for each in chain}
        for lct in lcts[1:]:
            if lct.id not in parents and len(chain) < MAX_CHAIN:
                chain += (Provenance(Operation.COMPRESS, entity, model, lct.id),)
        return chain
