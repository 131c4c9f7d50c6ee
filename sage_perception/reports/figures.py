# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of Matplotlib figures."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sage_perception.core.files import make_folder, replacing


def check_figure_file(option: str, path: Path) -> None:
    """Check that a figure can be written to `path`, and create its folder if it is missing.

    `option` names the file in the message. Raises `ValueError` for a format that Matplotlib cannot
    write, and `OSError`.
    """
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.lower().removeprefix('.') not in formats or path.is_dir():
        raise ValueError(f'{option} {path} is not a file name that Matplotlib can write: use .png')
    make_folder(path.parent)


def write_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure in the format of the file extension. Raises `OSError`."""
    with replacing(path) as part:
        figure.savefig(part, dpi=dpi, format=path.suffix.lower().removeprefix('.'))
