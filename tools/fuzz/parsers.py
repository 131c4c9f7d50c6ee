# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Every reader of files in sage, with valid files, their mutations and the errors it may raise."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import rclpy
from rclpy.serialization import serialize_message

from fuzz import seeds
from fuzz.formats import (
    change_database,
    change_gzip,
    change_npy,
)
from fuzz.model_parsers import MODEL_PARSERS
from fuzz.mutations import BYTES, JSON, TEXT, YAML
from fuzz.parser import NPZ, Parser, sage_command
from sage_perception.bags.reader import open_bag
from sage_perception.bags.repair import repair
from sage_perception.bringup.composition import describe_crash
from sage_perception.bringup.environment import remove_stale_shared_memory
from sage_perception.cli.codebook import named_latents
from sage_perception.core.yaml_file import read_mapping
from sage_perception.memory import Query, Space, open_store, recalled_lct
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.regression.baseline import read_baseline
from sage_perception.regression.timeline import read_timeline
from sage_perception.ros.camera_info import load_camera_info
from sage_perception.ros.composition import read_nodes
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.memory import memory_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameter_file import ParameterFile, require_parameter_files
from sage_perception.training.config import read_config
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.training.data.clips import clip_frames
from sage_perception.training.runs import read_checkpoint
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.map_cache import load_latent_map
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.security.keys import load_key
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.vision.image_file import read_bgr
from sage_perception.vision.sources.base import EndOfStream, SourceLost
from sage_perception.vision.sources.opening import open_source


def _parameters(folder: Path) -> None:
    file = ParameterFile(folder / 'dual_camera.yaml')
    file.resolve('/arbiter', ArbiterNode.PARAMETERS)


def _parameters_of_rcl(folder: Path) -> None:
    """Parse a parameter file with the parser of rcl, as nodes do."""
    arguments = ['--ros-args', '--params-file', str(folder / 'dual_camera.yaml')]
    require_parameter_files(arguments)
    context = rclpy.Context()
    try:
        context.init(arguments)
    except Exception as error:
        if type(error).__name__.startswith(('RCL', 'UnknownROSArgs')):  # see ros.run
            raise ConfigurationError(str(error).partition('\n')[0]) from error
        raise
    finally:
        context.try_shutdown()


def _training(folder: Path) -> None:
    for path in _changed(folder):
        read_config(path)


def _keys(folder: Path) -> None:
    load_key(folder / 'keys', 'cam0')


def _trusted(folder: Path) -> None:
    for entity in TrustStore(folder / 'keys').entities:
        str(entity)


def _bag(path: Path) -> None:
    with open_bag(path) as bag:
        for message in islice(bag, 500):
            try:
                bag.deserialize(message.topic, message.data)
            except ValueError:
                continue


def _open_bag(folder: Path) -> None:
    _bag(folder / 'bag')


def _lcts_bag(folder: Path) -> None:
    _bag(folder / 'lcts')


def _database_bag(folder: Path) -> None:
    _bag(folder / 'bag_0.db3')


def _repair(folder: Path) -> None:
    repair(folder / 'open.mcap')
    _bag(folder / 'open.mcap')


def _memory(folder: Path) -> None:
    """Read a memory as the memory node and `sage memory` do, up to the messages."""
    space = Space.of(seeds.MODEL)
    with open_store(folder / 'memory.db', space, create=False) as store:
        store.contents()
        store.novelty(space.mean[None])
        hits = [*store.find(Query(count=50)), *store.find(Query(like=space.mean, count=50))]
        for hit in hits:
            message = lct_to_msg(recalled_lct(hit.record, 'memory', 1))
            serialize_message(memory_to_msg(hit, message))
        store.commit()
    sage_command('memory', 'list', '--store', '{}/memory.db')(folder)


def _images(folder: Path) -> None:
    for path in _changed(folder):
        read_bgr(path)


def _source(folder: Path, uri: str) -> None:
    try:
        with open_source(uri) as source:
            for _ in range(15):
                source.read(0.0)
    except (EndOfStream, SourceLost):
        pass


def _image_folder(folder: Path) -> None:
    _source(folder, f'images://{folder}?fps=1000&loop=false')


def _video(folder: Path) -> None:
    for path in _changed(folder):
        _source(folder, f'file://{path}?fps=1000&loop=false')


def _clip(folder: Path) -> None:
    for path in _changed(folder):
        list(islice(clip_frames(path), 15))


def _changed(folder: Path) -> Iterator[Path]:
    """Yield the mutated file of a case, which the worker has named last."""
    path = Path(os.environ['SAGE_FUZZ_FILE'])
    yield path if path.is_absolute() else folder / path


def _probes(folder: Path) -> None:
    before = os.environ.get('XDG_CACHE_HOME')
    os.environ['XDG_CACHE_HOME'] = str(folder)
    rendered = probe_set.render
    probe_set.render = lambda *_: np.zeros((probe_set.COUNT, 1), np.uint8)  # takes seconds
    try:
        probe_set.images()
    finally:
        probe_set.render = rendered
        if before is None:
            del os.environ['XDG_CACHE_HOME']
        else:
            os.environ['XDG_CACHE_HOME'] = before


def _shared_memory(folder: Path) -> None:
    remove_stale_shared_memory(folder, 0.0)


IMAGES = (
    *(f'image.{suffix}' for suffix in ('png', 'jpg', 'webp', 'bmp', 'tiff', 'ppm')),
    *('deep.png', 'alpha.png', 'palette.gif', 'exif.jpg', 'lzw.tif', 'float.tif', 'icon.ico'),
)
TRAINING = ('tinyvae.yaml', 'identity.yaml', 'slots_sprites.yaml', 'h_to_l_hybrid.yaml')
DATABASE = (*BYTES, *[change_database] * 12)

PARSERS = (
    *MODEL_PARSERS,
    Parser(
        'yaml',
        seeds.copied('config/dual_camera.yaml'),
        ('dual_camera.yaml',),
        YAML,
        lambda folder: read_mapping(folder / 'dual_camera.yaml'),
    ),
    Parser(
        'parameters',
        seeds.copied('config/dual_camera.yaml'),
        ('dual_camera.yaml',),
        YAML,
        _parameters,
    ),
    Parser(
        'parameters of rcl',
        seeds.copied('config/dual_camera.yaml'),
        ('dual_camera.yaml',),
        YAML,
        _parameters_of_rcl,
        (ConfigurationError,),
    ),
    Parser(
        'sage up',
        seeds.copied('config/dual_camera.yaml'),
        ('dual_camera.yaml',),
        YAML,
        sage_command('up', 'dual_camera', '--dry-run', '--params-file', '{}/dual_camera.yaml'),
        weight=0.5,
    ),
    Parser(
        'camera_info',
        seeds.camera_info,
        ('camera.yaml',),
        YAML,
        lambda folder: load_camera_info(str(folder / 'camera.yaml')),
        (ConfigurationError,),
    ),
    Parser(
        'geometry',
        seeds.text('geometry.yaml', seeds.GEOMETRY),
        ('geometry.yaml',),
        YAML,
        lambda folder: CameraGeometry.read(folder / 'geometry.yaml'),
        (ValueError,),
    ),
    Parser(
        'training',
        seeds.copied(*(f'config/train/{name}' for name in TRAINING)),
        TRAINING,
        YAML,
        _training,
        (ValueError,),
    ),
    Parser(
        'timeline',
        seeds.text('bag.timeline.yaml', seeds.TIMELINE),
        ('bag.timeline.yaml',),
        YAML,
        lambda folder: read_timeline(folder / 'bag.timeline.yaml'),
    ),
    Parser(
        'baseline',
        seeds.baseline,
        ('a.baseline.json',),
        JSON,
        lambda folder: read_baseline(folder / 'a.baseline.json'),
        (ValueError,),
    ),
    Parser(
        'packed baseline',
        seeds.baseline,
        ('a.baseline.json.gz',),
        (*BYTES, *[change_gzip] * 8),
        lambda folder: read_baseline(folder / 'a.baseline.json.gz'),
        (ValueError,),
        weight=0.5,
    ),
    Parser('trusted.json', seeds.keys, ('keys/trusted.json',), JSON, _trusted, (ValueError,)),
    Parser('key', seeds.keys, ('keys/cam0.key',), TEXT, _keys, (ValueError,)),
    Parser(
        'sage keys',
        seeds.keys,
        ('keys/trusted.json', 'keys/cam0.key'),
        JSON[:9],
        sage_command('keys', 'list', '--dir', '{}/keys'),
        weight=0.5,
    ),
    Parser(
        'latent map',
        seeds.latent_map,
        ('map.npz',),
        NPZ,
        lambda folder: load_latent_map(folder / 'map.npz'),
    ),
    Parser(
        'latents',
        seeds.encoded_images,
        ('latents.npz',),
        NPZ,
        sage_command('decode', '{}/latents.npz', '-o', '{}/sheet.png'),
    ),
    Parser(
        'latents of codebooks',
        seeds.latents,
        ('latents.npy',),
        (*BYTES, *[change_npy] * 8),
        lambda folder: named_latents(f'a={folder}/latents.npy'),
        (argparse.ArgumentTypeError,),
        weight=0.5,
    ),
    Parser(
        'contexts',
        seeds.contexts,
        ('contexts.npz',),
        NPZ,
        lambda folder: Contexts.read(folder / 'contexts.npz'),
    ),
    Parser(
        'checkpoint',
        seeds.checkpoint,
        ('last.ckpt',),
        BYTES,
        lambda folder: read_checkpoint(folder / 'last.ckpt'),
        (ValueError,),
    ),
    Parser('image', seeds.image, IMAGES, BYTES, _images, weight=2.0),
    Parser('image folder', seeds.image, IMAGES[:6], BYTES, _image_folder),
    Parser('clip', seeds.video, ('a.avi', 'b.mp4', 'c.mkv'), BYTES, _clip, (ValueError,)),
    Parser('video', seeds.video, ('a.avi', 'b.mp4', 'c.mkv'), BYTES, _video),
    Parser('bag', seeds.bag, ('bag/bag_0.mcap',), BYTES, _open_bag, (ValueError,)),
    Parser('bag metadata', seeds.bag, ('bag/metadata.yaml',), YAML, _open_bag, (ValueError,)),
    Parser(
        'bag of LCTs',
        seeds.lcts_bag,
        ('lcts/sage_msgs_0_3_0.mcap',),
        BYTES,
        _lcts_bag,
        (ValueError,),
    ),
    Parser(
        'database bag',
        seeds.database_bag,
        ('bag_0.db3',),
        DATABASE,
        _database_bag,
        (ValueError,),
    ),
    Parser('repair', seeds.bag, ('open.mcap',), BYTES, _repair, (ValueError,)),
    Parser('memory', seeds.memory, ('memory.db',), DATABASE, _memory, weight=2.0),
    Parser(
        'nodes of a process',
        seeds.nodes,
        ('nodes.json',),
        JSON,
        lambda folder: read_nodes(folder / 'nodes.json'),
        (ConfigurationError,),
        weight=0.5,
    ),
    Parser(
        'crash file',
        seeds.text('nodes.json.crash', 'Fatal Python error: Segmentation fault\n'),
        ('nodes.json.crash',),
        TEXT,
        lambda folder: describe_crash(folder / 'nodes.json'),
        (),
        weight=0.3,
    ),
    Parser('probe cache', seeds.probes, ('sage/probes-1.bin',), BYTES, _probes, (), weight=0.3),
    Parser(
        'shared memory',
        seeds.text('fastrtps_0123456789abcdef_el', ''),
        ('fastrtps_0123456789abcdef_el',),
        BYTES,
        _shared_memory,
        (),
        weight=0.3,
    ),
)
