# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Valid files of every kind that a parser of sage reads, which the fuzzer mutates."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from PIL import Image
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from fuzz.model_seeds import MODEL
from sage_perception.bags.writer import BagWriter
from sage_perception.codecs.encoded_images import EncodedImages
from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import MemoryRecord, Snarc, Space, open_store
from sage_perception.models import artifact
from sage_perception.models.registry import ZOO
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.trust.compatibility.latent_map import LatentMap
from sage_perception.trust.compatibility.map_cache import save_latent_map

ROOT = Path(__file__).resolve().parents[2]
STAMP_NS = 1_800_000_000 * 10**9
GEOMETRY = 'homography: [[1, 0, -40], [0, 1, 0], [0, 0, 1]]\ntolerance_px: 20\n'
TIMELINE = """\
version: 1
expectations:
  - attended: {camera: cam0, region: [10, 20, 64, 48], start: 3, end: 7}
  - fault: {camera: cam1, kind: frozen, at: 12}
  - agreement: {cameras: [cam0, cam1], end: 5}
  - rate: {stream: cam0/lcts, start: 0, end: 5, at_least: 1}
"""


def keys(folder: Path) -> None:
    """Write a key folder."""
    run = [sys.executable, '-m', 'sage_perception.cli.main', 'keys', 'create', 'cam0', 'cam1']
    subprocess.run([*run, '--dir', str(folder / 'keys')], check=True, capture_output=True)


def latent_map(folder: Path) -> None:
    """Write a map between two latent spaces."""
    rng = np.random.default_rng(0)
    save_latent_map(
        folder / 'map.npz',
        LatentMap(
            sender=bytes(range(32)),
            receiver=bytes(range(1, 33)),
            weights=rng.normal(size=(16, 16)),
            offset=rng.normal(size=16),
            residual=rng.normal(size=16),
            method='ridge',
            image_count=384,
            r2=0.5,
            p_value=0.01,
        ),
    )


def encoded_images(folder: Path) -> None:
    """Write a file of `sage encode`."""
    space = artifact.read(ZOO / MODEL)
    dim = space.tensors[artifact.LATENT_MEAN].size
    rois = np.array([[0, 0, 40, 40], [10, 0, 60, 60]], np.int32)
    EncodedImages(
        space.id,
        latents=np.zeros((2, dim), np.float32),
        rois=rois,
        owners=np.arange(2, dtype=np.int32),
        names=['a.png', 'b.png'],
        sizes=np.array([[40, 40], [60, 80]], np.int32),
        tiled=False,
    ).save(folder / 'latents.npz')


def contexts(folder: Path) -> None:
    """Write recorded contexts."""
    rows = np.zeros(4, np.int64)
    Contexts(
        values=np.zeros((4, 4096), np.float32),
        mask=np.ones((4, 4096), bool),
        run=rows,
        source=rows,
        sources=('clip',),
        label=rows,
        track=rows,
        later=np.zeros((4, 2), np.float32),
        stamp=np.arange(4.0),
        model='tinyvae',
    ).write(folder / 'contexts.npz')


def latents(folder: Path) -> None:
    """Write latents as an .npy file."""
    np.save(folder / 'latents.npy', np.zeros((8, 16), np.float32))


def camera_info(folder: Path) -> None:
    """Write a calibration of a camera."""
    matrix = {'rows': 3, 'cols': 3, 'data': [500.0, 0, 320, 0, 500, 240, 0, 0, 1]}
    tree = {
        'image_width': 640,
        'image_height': 480,
        'camera_name': 'cam0',
        'camera_matrix': matrix,
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.1, -0.2, 0, 0, 0]},
        'rectification_matrix': matrix | {'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        'projection_matrix': {'rows': 3, 'cols': 4, 'data': [500.0, *[0] * 10, 1]},
    }
    (folder / 'camera.yaml').write_text(yaml.safe_dump(tree))


def text(name: str, content: str) -> Callable[[Path], None]:
    """Return a function that writes a text file."""

    def seed(folder: Path) -> None:
        (folder / name).write_text(content)

    return seed


def copied(*sources: str) -> Callable[[Path], None]:
    """Return a function that copies files of the repository."""

    def seed(folder: Path) -> None:
        for source in sources:
            shutil.copy(ROOT / source, folder)

    return seed


def image(folder: Path) -> None:
    """Write images of many formats, with metadata, transparency and palettes."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (64, 48))
    for suffix in ('png', 'jpg', 'webp', 'bmp', 'tiff', 'ppm'):
        cv2.imwrite(str(folder / f'image.{suffix}'), pixels)
    cv2.imwrite(str(folder / 'deep.png'), pixels.astype(np.uint16) * 257)
    whole = Image.fromarray(pixels)
    whole.convert('RGBA').save(folder / 'alpha.png')
    whole.quantize(16).save(folder / 'palette.gif')
    exif = Image.Exif()
    exif[0x0112] = 6
    whole.save(folder / 'exif.jpg', exif=exif, progressive=True)
    whole.save(folder / 'lzw.tif', compression='tiff_lzw')
    whole.convert('F').save(folder / 'float.tif')
    whole.save(folder / 'icon.ico')


def video(folder: Path) -> None:
    """Write short videos of several formats."""
    for name, codec in (('a.avi', 'MJPG'), ('b.mp4', 'mp4v'), ('c.mkv', 'mp4v')):
        out = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
        for number in range(12):
            frame = np.full((48, 64, 3), 100, np.uint8)
            cv2.rectangle(frame, (number * 4, 10), (number * 4 + 9, 30), (0, 0, 255), -1)
            out.write(frame)
        out.release()


def bag(folder: Path) -> None:
    """Write a small bag with two topics, and one that was not closed."""
    for name, compression in (('bag', 'none'), ('packed', 'zstd')):
        with BagWriter(folder / name, compression) as writer:
            for topic in ('/a', '/b'):
                writer.add_topic(topic, 'std_msgs/msg/String')
            for number in range(20):
                data = serialize_message(String(data=f'message {number}'))
                writer.write('/a' if number % 2 else '/b', data, STAMP_NS + number * 10**8)
    source = folder / 'packed' / 'packed_0.mcap'
    (folder / 'open.mcap').write_bytes(source.read_bytes()[:-900])


def lcts_bag(folder: Path) -> None:
    """Copy a bag with LCTs of a released version."""
    shutil.copytree(ROOT / 'test/data/bags/sage_msgs_0_3', folder / 'lcts')


def database_bag(folder: Path) -> None:
    """Write a bag in SQLite, as rosbag2 does."""
    database = sqlite3.connect(folder / 'bag_0.db3')
    database.executescript(
        'CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);'
        'CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, '
        'metadata TEXT NOT NULL);'
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, '
        'serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);'
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, '
        'timestamp INTEGER NOT NULL, data BLOB NOT NULL);'
        'CREATE INDEX timestamp_idx ON messages (timestamp ASC);'
        "INSERT INTO schema VALUES (3, 'jazzy');"
        "INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/String', 'cdr', '');"
    )
    for number in range(20):
        data = serialize_message(String(data=f'message {number}'))
        values = (number + 1, STAMP_NS + number * 10**8, data)
        database.execute('INSERT INTO messages VALUES (?, 1, ?, ?)', values)
    database.commit()
    database.close()


def baseline(folder: Path) -> None:
    """Copy a baseline, plain and compressed."""
    source = ROOT / 'test/data/bags/golden/single.baseline.json'
    shutil.copy(source, folder / 'a.baseline.json')
    (folder / 'a.baseline.json.gz').write_bytes(gzip.compress(source.read_bytes()))


def memory(folder: Path) -> None:
    """Write a memory file with rows, without a write-ahead log."""
    space = Space.of(MODEL)
    rng = np.random.default_rng(0)
    with open_store(folder / 'memory.db', space) as store:
        records = []
        for number in range(12):
            latent = Latent(
                rng.normal(size=space.dim).astype(np.float32),
                model=space.model,
                roi=Roi(1, 2, 30, 40),
                track_id=number,
                telemetry=Telemetry(trust=0.9, latent_norm=3.0),
            )
            lct = LCT.encoded(
                latent, entity_id='cam0', sequence=number, stamp_ns=STAMP_NS + number * 10**9
            )
            records.append(MemoryRecord(replace(lct), Snarc(novelty=0.5)))
        store.add(records)
        store.commit()
    database = sqlite3.connect(folder / 'memory.db')
    database.execute('PRAGMA journal_mode = DELETE')
    database.close()


def checkpoint(folder: Path) -> None:
    """Write a checkpoint of a training run."""
    torch.save(
        {'state_dict': {'model.a': torch.zeros(4)}, 'epoch': 1, 'global_step': 8},
        folder / 'last.ckpt',
    )


def nodes(folder: Path) -> None:
    """Write the list of the nodes of a composed process."""
    tree = [
        {'path': 'cam0/attention', 'executable': 'attention_node', 'arguments': ['--ros-args']},
        {'path': 'arbiter', 'executable': 'arbiter_node', 'arguments': ['-r', 'a:=b']},
    ]
    (folder / 'nodes.json').write_text(json.dumps(tree))


def probes(folder: Path) -> None:
    """Write a damaged cache of the probe images."""
    (folder / 'sage').mkdir()
    (folder / 'sage' / 'probes-1.bin').write_bytes(bytes(5000))
