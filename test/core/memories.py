# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""LCTs and memory records for the tests of memory."""

import contextlib
import json
import sqlite3
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


def lct(number=0, z=None, *, at_s=0.0, entity='cam0', track=1, model=MODEL, **fields):
    """Return an LCT with the ID `number`, which is also the seed of its latent by default."""
    if z is None:
        z = SPACE.mean + np.random.default_rng(number).standard_normal(DIM)
    latent = Latent(
        np.asarray(z, np.float32),
        model=model,
        roi=Roi(1, 2, 30, 40),
        track_id=track,
        telemetry=Telemetry(trust=0.9, latent_norm=3.0),
    )
    encoded = LCT.encoded(
        latent, entity_id=entity, sequence=number, stamp_ns=START + round(at_s * SECOND)
    )
    return replace(encoded, **{'id': number.to_bytes(16, 'big'), **fields})


def memory_record(number=0, z=None, salience=0.5, **fields):
    """Return a record of `lct` with the given salience."""
    return MemoryRecord(lct(number, z, **fields), Snarc(novelty=salience))


def numbers(hits):
    """Return the numbers of the LCTs that were found."""
    return [int.from_bytes(hit.record.lct.id, 'big') for hit in hits]


def read_detail(path, row_id):
    """Return the JSON of a row in an SQLite memory."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        [(text,)] = db.execute('SELECT detail FROM sage_memory WHERE id = ?', (row_id,))
    return json.loads(text)


def overwrite(path, row_id, **columns):
    """Set columns of a row in an SQLite memory to any values."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for column, value in columns.items():
            db.execute(f'UPDATE sage_memory SET {column} = ? WHERE id = ?', (value, row_id))
