# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded contexts as arrays, and their files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sage_perception.context.layout import DIM, LAYOUT
from sage_perception.core.npz_file import read_npz, write_npz
from sage_perception.core.text import one_line

MAX_BYTES = 16 << 30
"""Limit on the size of a file: a million contexts with their masks."""
ROWS = ('values', 'mask', 'run', 'source', 'label', 'track', 'later', 'stamp')
"""Fields of `Contexts` with one row for each context."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """N recorded contexts.

    Attributes
    ----------
    values, mask : np.ndarray
        float32 and bool `[N, 4096]`.
    run : np.ndarray
        Number of the run of each context, `[N]`.
    source : np.ndarray
        Index into `sources`, `[N]`.
    sources : tuple of str
        Names of the clips and montages.
    label : np.ndarray
        Index of the image that the most salient object is cut from, −1 if unknown, `[N]`.
    track : np.ndarray
        Track ID of the most salient object, unique among the cameras of a run, `[N]`.
    later : np.ndarray
        Position (x, y) of the most salient object half a second later, in half frames from the
        center, NaN if it is out of view, float32 `[N, 2]`.
    stamp : np.ndarray
        Time of each context, seconds, `[N]`.
    model : str
        Fingerprint of the encoder, hexadecimal.

    """

    values: np.ndarray
    mask: np.ndarray
    run: np.ndarray
    source: np.ndarray
    sources: tuple[str, ...]
    label: np.ndarray
    track: np.ndarray
    later: np.ndarray
    stamp: np.ndarray
    model: str

    def __len__(self) -> int:
        return len(self.values)

    def select(self, chosen: np.ndarray) -> Contexts:
        """Return the contexts for which `chosen`, bool `[N]`, is True."""
        rows = {name: getattr(self, name)[chosen] for name in ROWS}
        return Contexts(**rows, sources=self.sources, model=self.model)

    def write(self, path: Path) -> None:
        """Write an `.npz` file, atomically: values in half precision, masks as bits."""
        arrays: dict[str, np.ndarray] = {
            'values': self.values.astype(np.float16),
            'mask': np.packbits(self.mask, axis=1),
            'run': self.run,
            'source': self.source,
            'sources': np.array(self.sources),
            'label': self.label,
            'track': self.track,
            'later': self.later,
            'stamp': self.stamp,
            'model': np.array(self.model),
            'layout': np.array(LAYOUT),
        }
        write_npz(path, arrays, compressed=True)

    @classmethod
    def read(cls, path: Path) -> Contexts:
        """Read a file of `write`.

        Raises `ValueError` if it is damaged or has another layout, and `OSError` if it cannot be
        read.
        """
        try:
            file = read_npz(path, MAX_BYTES)
            layout = int(file['layout'])
            if layout != LAYOUT:
                raise ValueError(f'it has layout {layout}, this version uses layout {LAYOUT}')
            contexts = cls(
                values=file['values'].astype(np.float32),
                mask=np.unpackbits(file['mask'], axis=1, count=DIM).astype(bool),
                run=file['run'],
                source=file['source'],
                sources=tuple(map(str, file['sources'])),
                label=file['label'],
                track=file['track'],
                later=file['later'],
                stamp=file['stamp'],
                model=str(file['model']),
            )
            contexts.check()
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path} is not a file of contexts: {one_line(error)}; record them again'
            ) from error
        return contexts

    def check(self) -> None:
        """Raise `ValueError` for arrays that do not belong together."""
        count = len(self.values)
        if self.values.shape != (count, DIM) or self.mask.shape != (count, DIM):
            raise ValueError(f'values and mask must have the shape [N, {DIM}]')
        for name in ('run', 'source', 'label', 'track'):
            array = getattr(self, name)
            if array.shape != (count,) or array.dtype.kind not in 'iu':
                raise ValueError(f'{name} must be {count} integers')
        for name, shape in (('later', (count, 2)), ('stamp', (count,))):
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != 'f':
                raise ValueError(f'{name} must be numbers of the shape {list(shape)}')
        if not np.isfinite(self.values).all():
            raise ValueError('a context has a value that is not finite')
        if count and not 0 <= self.source.min() <= self.source.max() < len(self.sources):
            raise ValueError('source has an index that sources does not have')


def joined(recorded: Iterable[Contexts | None]) -> Contexts:
    """Return the contexts of several runs, numbered in their order.

    None stands for a run without contexts. Raises `ValueError` if all runs are None.
    """
    runs = [run for run in recorded if run is not None]
    if not runs:
        raise ValueError('no context was recorded: nothing moves in the clips')
    sources = tuple(dict.fromkeys(run.sources[0] for run in runs))
    parts = ('values', 'mask', 'label', 'track', 'later', 'stamp')
    return Contexts(
        **{part: np.concatenate([getattr(run, part) for run in runs]) for part in parts},
        run=np.concatenate([np.full(len(run), number) for number, run in enumerate(runs)]),
        source=np.concatenate([np.full(len(r), sources.index(r.sources[0])) for r in runs]),
        sources=sources,
        model=runs[0].model,
    )
