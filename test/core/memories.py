# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Things to remember, for the tests of memory."""

from dataclasses import replace

import numpy as np

from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import MemoryRecord, Snarc, Space

DIM = 16
MODEL = ModelId('small', '1', bytes(range(32)))
OTHER = ModelId('small', '2', bytes(range(1, 33)))
SPACE = Space(MODEL, np.linspace(-3, 5, DIM, dtype=np.float32))
SECOND = 10**9
START = 1_800_000_000 * SECOND


def lct(number=0, z=None, *, at_s=0.0, entity='cam0', track=1, model=MODEL, **more):
    """Return an LCT; `number` decides its id, and its latent where none is given."""
    if z is None:
        z = SPACE.mean + np.random.default_rng(number).standard_normal(DIM)
    latent = Latent(
        np.asarray(z, np.float32),
        model=model,
        roi=Roi(1, 2, 30, 40),
        track_id=track,
        telemetry=Telemetry(trust=0.9, latent_norm=3.0),
    )
    lct = LCT.encoded(
        latent, entity_id=entity, sequence=number, stamp_ns=START + round(at_s * SECOND)
    )
    return replace(lct, **{'id': number.to_bytes(16, 'big'), **more})


def entry(number=0, z=None, salience=0.5, **more):
    """Return an entry of such an LCT."""
    return MemoryRecord(lct(number, z, **more), Snarc(novelty=salience))


def numbers(hits):
    """Return the numbers of the entries that were found."""
    return [int.from_bytes(hit.entry.lct.id, 'big') for hit in hits]
