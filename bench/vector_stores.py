# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compare vector search libraries for the memory of a robot; missing ones are skipped.

The task is to find the 8 largest cosines among 100,000 64-D vectors on one thread. Times are the
95th percentile of the CPU time, milliseconds. Install the libraries with
`pip install apsw sqlite-vec usearch faiss-cpu`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from result_file import show_result, write_result

from sage_perception.memory.index import Index as OurIndex
from sage_perception.memory.query import MAX_STAMP_NS

COUNT, DIM, NEAREST, QUERIES = 100_000, 64, 8, 200
Search = Callable[[np.ndarray], list[int]]


def ours(vectors: np.ndarray, folder: Path) -> Search:
    """Return the exact search of `SqliteStore`: numpy."""
    index = OurIndex(DIM)
    index.add(range(COUNT), vectors, [0] * COUNT, [0] * COUNT, [''] * COUNT)
    return lambda q: [n for n, _ in index.nearest(q[None], NEAREST, 0, MAX_STAMP_NS)[0]]


def sqlite_vec(vectors: np.ndarray, folder: Path) -> Search:
    """Return the exact search of sqlite-vec in a file with pages of 64 KiB."""
    import apsw
    import sqlite_vec

    db = apsw.Connection(str(folder / 'vec.db'))
    db.enable_load_extension(True)
    db.load_extension(sqlite_vec.loadable_path())
    db.pragma('page_size', 65536)
    db.execute(f'CREATE VIRTUAL TABLE v USING vec0(z FLOAT[{DIM}] DISTANCE_METRIC=cosine)')
    with db:
        rows = ((n, z.tobytes()) for n, z in enumerate(vectors))
        db.executemany('INSERT INTO v (rowid, z) VALUES (?, ?)', rows)
    sql = f'SELECT rowid FROM v WHERE z MATCH ? AND k = {NEAREST} ORDER BY distance'
    return lambda q: [row[0] for row in db.execute(sql, (q.tobytes(),))]


def usearch_exact(vectors: np.ndarray, folder: Path) -> Search:
    """Return the exact search of usearch."""
    from usearch.index import MetricKind, search

    return lambda q: search(
        vectors, q, NEAREST, MetricKind.IP, exact=True, threads=1
    ).keys.tolist()


def usearch_hnsw(vectors: np.ndarray, folder: Path) -> Search:
    """Return the approximate search of usearch."""
    from usearch.index import Index

    index = Index(ndim=DIM, metric='ip', dtype='f32')
    index.add(np.arange(COUNT), vectors, threads=1)
    return lambda q: index.search(q, NEAREST, threads=1).keys.tolist()


def faiss_flat(vectors: np.ndarray, folder: Path) -> Search:
    """Return the exact search of FAISS."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    return lambda q: index.search(q[None], NEAREST)[1][0].tolist()


def measure(make: Callable, vectors: np.ndarray, queries: np.ndarray, truth: list[set]) -> dict:
    """Return the search time, the recall and the build time of a library."""
    with TemporaryDirectory() as folder:
        start = time.process_time()
        search = make(vectors, Path(folder))
        built = time.process_time() - start
        times, found = [], []
        for query, right in zip(queries, truth, strict=True):
            start = time.thread_time()
            got = search(query)
            times.append(time.thread_time() - start)
            found.append(len(right & set(got)) / NEAREST)
    return {
        'search_ms_p95': round(float(np.percentile(times, 95)) * 1e3, 2),
        'recall_at_8': round(float(np.mean(found)), 3),
        'build_s': round(built, 2),
    }


def main() -> int:
    """Print the figures as JSON, and write them to a file."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((COUNT, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[rng.integers(0, COUNT, QUERIES)]
    queries = queries + 0.1 * rng.standard_normal(queries.shape).astype(np.float32)
    truth = [set(np.argsort(-(vectors @ query))[:NEAREST].tolist()) for query in queries]
    result = {}
    for make in (ours, sqlite_vec, usearch_exact, usearch_hnsw, faiss_flat):
        try:
            result[make.__name__] = measure(make, vectors, queries, truth)
        except ImportError as error:
            result[make.__name__] = {'skipped': str(error)}
    output = Path('out/bench/vector_stores.json')
    write_result(output, result)
    show_result(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
