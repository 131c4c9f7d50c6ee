# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Select training files: images, video clips and bags below a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data import bags

LOG = logging.getLogger(__name__)
IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp'}
CLIP_SUFFIXES = {'.avi', '.mp4', '.mkv', '.mov', '.webm'}
FETCHED = Path('out/data/images')
"""Folder that `tools/fetch_images.py` fills by default."""

HELD_OUT_EVERY = 10

FileFilter = Callable[[Path], bool]


def any_file(path: Path) -> bool:
    """Return True: the filter that selects every file."""
    return True


def file_filter(data: DataConfig, held_out: bool) -> FileFilter:
    """Return a predicate for the files to train on, or for the held-out files.

    Without `data.held_out`, these are the ones of `default_held_out`.
    """
    held = None if data.held_out else default_held_out(data)

    def is_held_out(path: Path) -> bool:
        return matches(path, data.held_out) if held is None else path.resolve() in held

    return lambda path: not matches(path, data.exclude) and is_held_out(path) == held_out


def default_held_out(data: DataConfig) -> frozenset[Path]:
    """Return every tenth file of each kind in `data.root`, at least one of several."""
    root = Path(data.root)
    if not root.is_dir():
        return frozenset()
    found = (
        find_files(root, IMAGE_SUFFIXES),
        [*find_files(root, CLIP_SUFFIXES), *bags.find_bags(root)],
    )
    held: set[Path] = set()
    for paths in found:
        used = [path.resolve() for path in paths if not matches(path, data.exclude)]
        if len(used) > 1:
            held.update(used[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] or used[-1:])
    return frozenset(held)


def matches(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether `path` matches one of the glob `patterns`, compared from the right."""
    return any(path.match(pattern) for pattern in patterns)


def find_files(
    root: Path, suffixes: Collection[str], selected: FileFilter = any_file
) -> list[Path]:
    """Return the selected files under `root` that have one of `suffixes`, sorted.

    Hidden files are left out, with a warning: macOS stores attributes in files such as `._a.jpg`.

    Raises `FileNotFoundError` if `root` is not a folder.
    """
    if not root.is_dir():
        fix = (
            'run tools/fetch_images.py'
            if root == FETCHED
            else 'create it, or choose another folder'
        )
        raise FileNotFoundError(f'{root} is not a folder: {fix}')
    found = [p for p in root.rglob('*') if p.suffix.lower() in suffixes and p.is_file()]
    hidden = [p for p in found if p.name.startswith('.')]
    if hidden:
        LOG.warning('%s: %d hidden files such as %s are left out', root, len(hidden), hidden[0])
    return sorted(p for p in found if not p.name.startswith('.') and selected(p))


def training_files(data: DataConfig, suffixes: Collection[str], held_out: bool) -> list[Path]:
    """Return the files of a configuration to train on, or the held-out files.

    Raises `FileNotFoundError` if `data.root` is not a folder.
    """
    return find_files(Path(data.root), suffixes, file_filter(data, held_out))


def training_images(data: DataConfig, held_out: bool) -> list[Path]:
    """Return the images of a configuration to train on, or the held-out images.

    Raises `ConfigError` if there are none.
    """
    try:
        files = training_files(data, IMAGE_SUFFIXES, held_out)
    except FileNotFoundError as error:
        raise ConfigError(f'data.root: {error}') from None
    if not files:
        which = 'data.held_out matches none' if held_out else f'{data.root} has none'
        raise ConfigError(f'the training needs images, and {which}')
    return files


def files_by_kind(root: Path, selected: FileFilter = any_file) -> dict[str, list[Path]]:
    """Return the selected files under `root`: images as `'stills'`, clips and bags as `'motion'`.

    Kinds without files are absent. Raises `ConfigError` if there is no file at all and
    `FileNotFoundError` if `root` is not a folder.
    """
    found = {
        'stills': find_files(root, IMAGE_SUFFIXES, selected),
        'motion': [
            *find_files(root, CLIP_SUFFIXES, selected),
            *filter(selected, bags.find_bags(root)),
        ],
    }
    kinds = {kind: paths for kind, paths in found.items() if paths}
    if not kinds:
        raise ConfigError(f'{root} has no matching image, clip or bag')
    return kinds
