# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Layout of an H context: the place and the meaning of each of its 4096 values.

`BLOCKS` is the layout; `docs/context.md` explains each field. Unknown values are 0 and masked;
reserved places are always masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar


class Array(Protocol):
    """What NumPy arrays and torch tensors have in common."""

    @property
    def shape(self) -> Any:
        """Return the size of each dimension."""

    @property
    def reshape(self) -> Any:
        """Return the method that returns an array of another shape."""

    def __getitem__(self, key: Any, /) -> Any: ...


T = TypeVar('T')
ArrayT = TypeVar('ArrayT', bound=Array)

LAYOUT = 1
"""Version of the layout; it changes whenever a value changes its place, unit, or meaning."""
DIM = 4096
"""Values of a context."""
MAX_ITEMS, MAX_RECALLS, MAX_SLOTS, MAX_CAMERAS = 24, 8, 8, 8
LATENT_DIM = 64
"""Dimensions of the latents in a context."""

ITEM_PHYSICAL = (
    *('x', 'y', 'width', 'height', 'velocity_x', 'velocity_y', 'growth', 'age', 'known_for'),
    *('visible', 'past_x_0', 'past_y_0', 'past_x_1', 'past_y_1', 'past_x_2', 'past_y_2'),
    *(f'camera_{slot}' for slot in range(MAX_CAMERAS)),
)
CAMERA_PHYSICAL = (
    *('aspect', 'megapixels', 'rate', 'age', 'known_for', 'items', 'area', 'center_x'),
    *('center_y', 'spread_x', 'spread_y', 'flow_x', 'flow_y', 'speed'),
)
TIME = ('day_sin', 'day_cos', 'hour_sin', 'hour_cos', 'running_for')
ITEM_LOGICAL = (
    *('salience', 'trust', 'telemetry_trust', 'error', 'kl', 'norm', 'hops', 'agreement'),
    *('surprise', 'novelty', 'arousal', 'reward', 'conflict', 'iterations', 'budget_spent'),
)
CAMERA_LOGICAL = ('primary', 'trust', 'trust_min', 'error', 'kl', 'agreement', 'matched')
SCENE = ('cameras', 'items', 'recalls', 'salience', 'trust', 'agreement', 'budget')


class ContextError(ValueError):
    """Data that cannot be written to or read from a context."""


@dataclass(frozen=True)
class Block:
    """`count` rows of the same `fields` in a segment, from index `start`."""

    segment: str
    name: str
    count: int
    fields: tuple[str, ...]
    start: int

    @property
    def size(self) -> int:
        """Return the number of values."""
        return self.count * len(self.fields)

    @property
    def where(self) -> slice:
        """Return the indices of the block in a context."""
        return slice(self.start, self.start + self.size)

    def rows(self, values: ArrayT) -> ArrayT:
        """Return the block of `values` `[..., 4096]` as a view `[..., count, fields]`.

        Works for torch tensors, too.
        """
        part = values[..., self.where]
        return part.reshape(*values.shape[:-1], self.count, len(self.fields))


_LATENT = tuple(f'z{i}' for i in range(LATENT_DIM))
# Segment: its size, and its blocks: name, rows, fields.
_SEGMENTS: Mapping[str, tuple[int, tuple[tuple[str, int, tuple[str, ...]], ...]]] = {
    'sensory': (1536, (('latents', MAX_ITEMS, _LATENT),)),
    'semantic': (1024, (('recall', MAX_RECALLS, _LATENT), ('slots', MAX_SLOTS, _LATENT))),
    'physical': (
        768,
        (
            ('items', MAX_ITEMS, ITEM_PHYSICAL),
            ('cameras', MAX_CAMERAS, CAMERA_PHYSICAL),
            ('time', 1, TIME),
        ),
    ),
    'logical': (
        768,
        (
            ('items', MAX_ITEMS, ITEM_LOGICAL),
            ('cameras', MAX_CAMERAS, CAMERA_LOGICAL),
            ('scene', 1, SCENE),
        ),
    ),
}


def _layout() -> tuple[dict[str, slice], dict[str, Block]]:
    segments: dict[str, slice] = {}
    blocks: dict[str, Block] = {}
    start = 0
    for segment, (size, parts) in _SEGMENTS.items():
        segments[segment] = slice(start, start + size)
        at = start
        for name, count, fields in parts:
            blocks[f'{segment}.{name}'] = block = Block(segment, name, count, fields, at)
            at += block.size
        start += size
    return segments, blocks


SEGMENTS, BLOCKS = _layout()
"""Segment: its indices; 'segment.block': the block."""


def find(table: Mapping[str, T], name: str) -> T:
    """Return an entry of `SEGMENTS` or `BLOCKS`; raises `ContextError` for another name."""
    try:
        return table[name]
    except KeyError:
        raise ContextError(
            f'a context has no part {name!r}, choose one of {", ".join(table)}'
        ) from None
