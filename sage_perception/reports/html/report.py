# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The content of an HTML report: verdict, facts, tables, time plots and moments with images."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Roi

Cell = str | int | float | None
"""A value in a table; None is shown as a dash."""


class Verdict(enum.Enum):
    """The result of a comparison; a report of a recording has NONE."""

    NONE = ''
    PASS = 'pass'
    FAIL = 'fail'


class Style(enum.Enum):
    """The way in which a series is drawn."""

    LINE = 'line'
    STEPS = 'steps'
    POINTS = 'points'


@dataclass(frozen=True, eq=False)
class Series:
    """One line of a chart.

    `times_s` are seconds since the start of the report, ascending; `values` have the same length,
    and NaN is a gap.

    Raises:
        ValueError: the lengths differ.
    """

    name: str
    times_s: Sequence[float] | np.ndarray
    values: Sequence[float] | np.ndarray
    style: Style = Style.LINE

    def __post_init__(self) -> None:
        if len(self.times_s) != len(self.values):
            raise ValueError(
                f'series {self.name!r} has {len(self.times_s)} times and {len(self.values)} values'
            )


@dataclass(frozen=True, eq=False)
class Chart:
    """A plot over time; charts of a report share their time axis.

    `limits` are the lowest and the highest value of the vertical axis in `unit`; by default they
    follow the data. `target` is drawn as a horizontal line.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    limits: tuple[float, float] | None = None
    target: float | None = None


@dataclass(frozen=True)
class Table:
    """A table; `note` is a sentence below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ''


@dataclass(frozen=True)
class Region:
    """A region of a frame with its label; `marked` regions are emphasized."""

    roi: Roi
    label: str
    marked: bool = False


@dataclass(frozen=True, eq=False)
class FrameImage:
    """A frame of a camera, uint8 RGB `[H, W, 3]` or gray `[H, W]`, with regions in its pixels.

    A `wide` image has the width of the page.
    """

    label: str
    image: np.ndarray
    regions: tuple[Region, ...] = ()
    wide: bool = False


@dataclass(frozen=True, eq=False)
class CropImage:
    """A crop and the reconstruction from its latent, uint8 RGB or gray; `note` is below them."""

    label: str
    crop: np.ndarray
    reconstruction: np.ndarray | None = None
    note: str = ''


@dataclass(frozen=True, eq=False)
class Moment:
    """A strip of images at one time, such as those around a difference.

    `seconds` is the time since the start of the report, marked in all charts.
    """

    title: str
    seconds: float
    detail: str = ''
    frames: tuple[FrameImage, ...] = ()
    crops: tuple[CropImage, ...] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """The content of a report.

    Attributes:
        title: the heading.
        summary: one sentence below the heading.
        verdict: the result, shown beside the heading.
        facts: names and values of the summary.
        tables: tables below the summary.
        charts: plots over time.
        moments: images, in the order of the report.
        environment: names and values, such as versions and hashes.
    """

    title: str
    summary: str = ''
    verdict: Verdict = Verdict.NONE
    facts: tuple[tuple[str, Cell], ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    moments: tuple[Moment, ...] = ()
    environment: tuple[tuple[str, Cell], ...] = ()
