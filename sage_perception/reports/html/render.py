# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of a report to one HTML file without references to other files.

Text from bags is escaped, and the content security policy of the page admits only its own script
and style, by their hashes, and no connection.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from sage_perception import __version__
from sage_perception.core.files import make_folder, write_atomically
from sage_perception.reports.html.images import data_uri
from sage_perception.reports.html.plot_data import chart_data, statistics
from sage_perception.reports.html.report import Cell, CropImage, FrameImage, Moment, Report, Table

MAX_FRAME_WIDTH = 480
"""Maximum width of a frame in a report, pixels."""
MAX_WIDE_WIDTH = 1200
"""Maximum width of a wide image in a report, pixels."""
MAX_CROP_WIDTH = 256
"""Maximum width of a crop in a report, pixels."""
TEXT_SHARE = 24
"""Height of a frame divided by the height of the labels in it."""


def check_report_file(option: str, path: Path) -> None:
    """Check that a report can be written to `path`, before the work for it begins.

    `option` names the file in the message. Raises `ValueError` for a folder, and `OSError`.
    """
    if path.is_dir():
        raise ValueError(
            f'{option} {path} is a folder: name a file, such as {path / "report.html"}'
        )
    make_folder(path.parent)


def write_report(report: Report, path: Path) -> None:
    """Write a report to `path`, whose folder is created if it is missing; raises `OSError`."""
    write_atomically(path, render(report))


def render(report: Report) -> str:
    """Return a report as an HTML document; equal reports give equal documents."""
    style, script = (_asset(name).strip() for name in ('report.css', 'report.js'))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(cell=_cell, statistics=statistics)
    environment.tests['numeric'] = _is_numeric
    return environment.from_string(_asset('report.html.j2')).render(
        report=report,
        charts=report.charts,
        moments=[_moment(moment) for moment in report.moments],
        data={
            'charts': [chart_data(chart) for chart in report.charts],
            'markers': [{'t': round(m.seconds, 4), 'title': m.title} for m in report.moments],
        },
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        version=__version__,
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / 'assets' / name).read_text(encoding='utf-8')


def _hash(text: str) -> str:
    """Return the hash of a script or style for a content security policy."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _cell(value: Cell) -> str:
    if value is None or value != value:
        return '–'
    if isinstance(value, float):
        return f'{value:.4g}' if abs(value) < 1e4 else f'{value:.0f}'
    return str(value)


def _is_numeric(table: Table, column: int) -> bool:
    """Return whether a column of a table holds numbers, which are aligned to the right."""
    values = [row[column] for row in table.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, (int, float)) for value in values)


def _moment(moment: Moment) -> dict[str, Any]:
    return {
        'title': moment.title,
        'seconds': moment.seconds,
        'detail': moment.detail,
        'frames': [_frame(frame) for frame in moment.frames],
        'crops': [_crop(crop) for crop in moment.crops],
    }


def _frame(frame: FrameImage) -> dict[str, Any]:
    height, width = frame.image.shape[:2]
    return {
        'label': frame.label,
        'regions': frame.regions,
        'width': width,
        'height': height,
        'text_px': max(8, height // TEXT_SHARE),
        'wide': frame.wide,
        'uri': data_uri(frame.image, MAX_WIDE_WIDTH if frame.wide else MAX_FRAME_WIDTH),
    }


def _crop(crop: CropImage) -> dict[str, Any]:
    images = {'crop': crop.crop, 'reconstruction': crop.reconstruction}
    return {
        'label': crop.label,
        'note': crop.note,
        **{
            name: None if image is None else data_uri(image, MAX_CROP_WIDTH, lossless=True)
            for name, image in images.items()
        },
    }
