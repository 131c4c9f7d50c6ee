# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Mutations inside a valid outer format, so that the damage reaches the inner layers."""

from __future__ import annotations

import gzip
import io
import json
import random
import sqlite3
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fuzz.mutations import BYTES, change_json, change_tree, set_number

CELLS: tuple[Any, ...] = (
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1e308,
    float('inf'),
    '',
    'x',
    'a' * 100_000,
    'two\nlines\x00',
    b'',
    b'\xff' * 16,
    b'\xff' * 256,
    bytes(64),
    b'\x00\x00\xc0\x7f' * 64,
    '{}',
    '[]',
    'null',
    '[' * 5000,
    '1' * 10_000,
    '\ud800'.encode('utf-8', 'surrogatepass'),
)
"""Cells of a database of any type, also of another than that of the column."""


def change_npz(data: bytes, rng: random.Random) -> bytes:
    """Change one array of a NumPy archive: its type, shape, header or bytes; or its name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    what = rng.randrange(8)
    if what == 0:
        del members[name]
    elif what == 1:
        members[rng.choice(('x.npy', 'x', '../x.npy'))] = members.pop(name)
    elif what == 2:
        members[name] = _header(rng) + members[name][128:]
    elif what == 3:
        members[name] = rng.choice(BYTES)(members[name], rng)
    else:
        members[name] = _array(rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as z:
        for each, content in members.items():
            z.writestr(each, content)
    return out.getvalue()


def change_npy(data: bytes, rng: random.Random) -> bytes:
    """Return another NumPy array, or one with another header."""
    return _array(rng) if rng.random() < 0.5 else _header(rng) + data[128:]


def _array(rng: random.Random) -> bytes:
    """Return an .npy file with an array of any type and shape, objects included."""
    shape = rng.choice(
        ((), (0,), (1,), (3,), (3, 4), (0, 4), (2, 2, 2), (64,), (1, 64), (100_000,))
    )
    kind = rng.choice(('f4', 'f8', 'f2', 'i4', 'i8', 'u1', '?', 'c8', 'U5', 'S5', 'O', 'M8[s]'))
    fill = rng.choice((0, 1, -1, np.nan, np.inf, 2**31, 1e30))
    with np.errstate(all='ignore'):
        array = np.full(shape, fill).astype(kind) if kind != 'O' else np.full(shape, None, object)
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def _header(rng: random.Random) -> bytes:
    """Return a header of an .npy file that announces another array than follows."""
    text = rng.choice(
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': [('a', '<f4'), ('b', '|S9')], 'fortran_order': True, 'shape': (2,), }",
            "{'descr': '<f4', 'shape': (1,)",
            '(' * 1000,
            '9' * 5000,
        )
    ).encode()
    size = max(118, len(text) + 1)
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', size) + text.ljust(size - 1) + b'\n'


def change_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file, or its tensors."""
    (size,) = struct.unpack_from('<Q', data)
    header, tensors = data[8 : 8 + size], data[8 + size :]
    what = rng.randrange(4)
    if what == 0:
        return data[: 8 + size] + rng.choice(BYTES)(tensors, rng)
    if what == 1:
        tree = json.loads(header)
        name = rng.choice([key for key in tree if key != '__metadata__'])
        tree[rng.choice((name, 'x'))] = tree.pop(name) | {
            'dtype': rng.choice(
                ('F32', 'F64', 'F16', 'BF16', 'I64', 'U8', 'BOOL', 'F8_E4M3', 'X')
            ),
        }
        header = json.dumps(tree).encode()
    elif what == 2:
        header = change_json(header, rng)
    else:
        return set_number(data[:16], rng) + data[16:]
    return struct.pack('<Q', len(header)) + header + tensors


def change_onnx(data: bytes, rng: random.Random) -> bytes:
    """Change a graph: operators, attributes, shapes, names, constants or external data."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for _ in range(rng.choice((1, 1, 2, 4))):
        node = rng.choice(graph.node)
        tensor = rng.choice(graph.initializer) if graph.initializer else None
        what = rng.randrange(10)
        if what == 0:
            graph.node.remove(node)
        elif what == 1:
            node.op_type = rng.choice(
                (
                    'Loop',
                    'If',
                    'Reshape',
                    'Tile',
                    'ConstantOfShape',
                    'Softmax',
                    'X',
                    'Conv',
                    'Cast',
                )
            )
        elif what == 2 and node.attribute:
            _change_attribute(rng.choice(node.attribute), rng)
        elif what == 3:
            del node.input[rng.randrange(len(node.input) + 1) :]
        elif what == 4:
            node.output[0] = rng.choice(('x', graph.output[0].name, *node.input[:1]))
        elif what == 5 and tensor is not None:
            tensor.dims[:] = [rng.choice((0, 1, -1, 3, 2**31, 2**62)) for _ in tensor.dims]
        elif what == 6 and tensor is not None:
            tensor.raw_data = rng.choice(BYTES)(tensor.raw_data, rng)
        elif what == 7 and tensor is not None:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            place = rng.choice(('/dev/zero', '../../../../etc/passwd', 'none', 'config.yaml', ''))
            for key, value in (('location', place), ('offset', '0'), ('length', '8')):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
        elif what == 8:
            value = rng.choice((*graph.input, *graph.output))
            for dim in value.type.tensor_type.shape.dim:
                dim.dim_value = rng.choice((0, 1, 3, 2**40, -1))
        else:
            value = rng.choice((*graph.input, *graph.output))
            if rng.random() < 0.5:
                value.name = 'renamed'
            else:
                value.type.tensor_type.elem_type = rng.choice((0, 1, 7, 8, 99))
        if not graph.node:
            break
    return model.SerializeToString()


def _change_attribute(attribute: Any, rng: random.Random) -> None:
    number = rng.choice((0, 1, -1, 7, 2**31, -(2**62), 10**6))
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = number
    elif attribute.t.raw_data and rng.random() < 0.7:
        attribute.t.raw_data = rng.choice(BYTES)(attribute.t.raw_data, rng)
    else:
        attribute.i, attribute.f = number, float(number)
        attribute.type = rng.choice((1, 2, 3, 4, 7))


def change_database(data: bytes, rng: random.Random) -> bytes:
    """Change cells, the schema or the pragmas of an SQLite database."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'x.db')
        path.write_bytes(data)
        database = sqlite3.connect(path, isolation_level=None)
        try:
            for _ in range(rng.choice((1, 1, 3, 10))):
                try:
                    _change_database(database, rng)
                except sqlite3.Error:  # such as a constraint: the change is not possible
                    continue
            database.execute('PRAGMA journal_mode = DELETE')
        finally:
            database.close()
        return path.read_bytes()


def _change_database(database: sqlite3.Connection, rng: random.Random) -> None:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if not tables:
        return
    table = rng.choice(tables)[0]
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
    column = rng.choice(columns)
    rows = [row[0] for row in database.execute(f'SELECT rowid FROM "{table}"')]
    what = rng.randrange(12)
    if what == 0:
        database.execute(
            rng.choice(
                (
                    f'DROP TABLE "{table}"',
                    f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO other',
                    f'ALTER TABLE "{table}" ADD COLUMN more',
                    f'DELETE FROM "{table}"',
                    f'PRAGMA user_version = {rng.choice((0, 2, 99))}',
                    f'PRAGMA application_id = {rng.choice((0, 7))}',
                    'CREATE VIEW v AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) '
                    'SELECT n FROM r',
                )
            )
        )
        return
    cell = rng.choice(CELLS)
    if column == 'detail' and rows and rng.random() < 0.8:
        [(text,)] = database.execute(
            f'SELECT detail FROM "{table}" WHERE rowid = ?', (rows[0],)
        ).fetchall()
        cell = json.dumps(change_tree(json.loads(text), rng))
    database.execute(
        f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (cell, rng.choice(rows or [0]))
    )


def change_gzip(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON in a gzip file, or return one that expands a thousandfold."""
    if rng.random() < 0.1:
        return gzip.compress(bytes(200 << 20))
    return gzip.compress(change_json(gzip.decompress(data), rng))
