# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Timelines: the expectations for a recording, in a file `*.timeline.yaml`.

    version: 1
    expectations:
      - attended: {camera: cam0, region: [100, 60, 80, 80], start: 1.5, end: 3.0}
      - fault: {camera: cam0, kind: covered, at: 2.3, within: 0.5}
      - trust: {camera: cam0, below: 0.5, start: 5.0, end: 8.0}
      - agreement: {cameras: [cam0, cam1], start: 1.0, end: 3.0, at_least: 5}
      - not_rejected: {camera: cam0, end: 6.0}
      - rate: {stream: cam0/crops, at_least: 9.0, start: 1.0, end: 6.0}
      - latency: {stream: cam0/crops, below: 0.2, end: 6.0}

`expectations` describes the kinds and their fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_perception.core.settings import build
from sage_perception.core.text import did_you_mean
from sage_perception.core.yaml_file import read_mapping
from sage_perception.regression.expectations import KINDS, Expectation

SUFFIX = '.timeline.yaml'
VERSION = 1
MAX_EXPECTATIONS = 1000


@dataclass(frozen=True)
class Timeline:
    """The expectations for a recording."""

    expectations: tuple[Expectation, ...]
    path: Path | None = None

    @property
    def end_s(self) -> float:
        """Return the time at which the last expectation can be judged, seconds."""
        return max(expectation.end for expectation in self.expectations)


def read_timeline(path: Path) -> Timeline:
    """Read a timeline.

    Raises `ValueError` in one line that names the file and the expectation, and `OSError`.
    """
    tree = read_mapping(path)
    try:
        if unknown := [key for key in tree if key not in ('version', 'expectations')]:
            raise ValueError(f'{unknown[0]} is unknown: expected version and expectations')
        if tree.get('version') != VERSION:
            raise ValueError(f'version is {tree.get("version")!r}; it must be {VERSION}')
        items = tree.get('expectations')
        if not isinstance(items, list) or not 0 < len(items) <= MAX_EXPECTATIONS:
            raise ValueError(f'expectations must be a list of 1 to {MAX_EXPECTATIONS} items')
        return Timeline(tuple(_expectation(n, item) for n, item in enumerate(items, 1)), path)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def find_timelines(bag: Path) -> list[Path]:
    """Return the timelines of a bag: `BAG*.timeline.yaml` beside it, and all inside it, sorted."""
    bag = bag.resolve()
    name = bag.name if bag.is_dir() else bag.name.partition('.')[0]
    found = [
        path
        for path in bag.parent.glob(f'*{SUFFIX}')
        if path.name.removesuffix(SUFFIX) == name or path.name.startswith(f'{name}.')
    ]
    if bag.is_dir():
        found += bag.glob(f'*{SUFFIX}')
    return sorted(found)


def _expectation(number: int, item: Any) -> Expectation:
    where = f'expectation {number}'
    if not isinstance(item, dict) or len(item) != 1:
        raise ValueError(f'{where} must be one of {", ".join(KINDS)} with its fields')
    [(kind, fields)] = item.items()
    if kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS) or f': expected one of {", ".join(KINDS)}'
        raise ValueError(f'{where}: {kind} is unknown{hint}')
    return build(KINDS[kind], fields, f'{where}, {kind}.')
