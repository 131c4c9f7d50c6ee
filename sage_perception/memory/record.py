# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory record: an LCT with its salience, and its rank for retention."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sage_perception.core.latent import Code
from sage_perception.core.lct import LCT
from sage_perception.memory.snarc import Snarc

MIN_SALIENCE = 1e-3  # keeps the logarithm of a salience finite


@dataclass(frozen=True, eq=False)
class MemoryRecord:
    """An LCT and the salience scores it had when it was stored.

    A store keeps every field of the LCT except `log_var` and `energy_trajectory` of its latent,
    which describe the encoding and would take most of the space. The signature is kept: it
    proves the origin of a recalled LCT. `codes` are those of its track (`code_table`); a record
    that was read has none.
    """

    lct: LCT
    snarc: Snarc
    codes: tuple[Code, ...] = ()

    @property
    def entity(self) -> str:
        """Return the entity that observed it: that of the first provenance step."""
        return self.lct.provenance[0].entity_id if self.lct.provenance else self.lct.entity_id


def retention(record: MemoryRecord, half_life_s: float) -> float:
    """Return the retention rank of a record; a store deletes the lowest ranks first.

    The value of a record decays as salience · 2^(−age / half-life), the exponential forgetting
    curve of Ebbinghaus (1885). The order of two records therefore never changes, and the rank is
    the base-2 logarithm of the value without the term of the current time:
    stamp / half-life + log2(salience). It can be stored and indexed.
    """
    salience = max(record.snarc.salience, MIN_SALIENCE)
    return record.lct.stamp_ns * 1e-9 / half_life_s + math.log2(salience)
