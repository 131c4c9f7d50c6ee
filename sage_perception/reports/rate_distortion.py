# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draws quality over bytes: the wire forms of models, PCA, and the image codecs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sage_perception.models import Codec, ModelError

CODECS = {'webp': 'tab:blue', 'jpeg': 'tab:orange', 'avif': 'tab:green'}
MARKERS = {'float32': 's', 'float16': 'D', 'int8': 'o', 'entropy_int8': '^', 'vq': '*'}
MODELS = ('tab:red', 'tab:purple', 'tab:brown', 'tab:pink', 'tab:olive', 'tab:cyan', 'k', 'gold')


def check(codecs: Sequence[Codec], path: Path) -> None:
    """Raise `ModelError` for models that fit no one figure, else another error for its path."""
    if len(codecs) > len(MODELS):
        raise ModelError(f'--plot: {len(codecs)} models, plot {len(MODELS)} at most')
    for what, values in (
        ('sizes', {codec.input_size for codec in codecs}),
        ('colors', {codec.input_channels for codec in codecs}),
    ):
        if len(values) > 1:
            raise ModelError(f'--plot: the models take crops of different {what}, plot them apart')
    if not path.parent.is_dir():
        raise FileNotFoundError(f'--plot {path}: there is no folder {path.parent}, make it first')
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.lower().removeprefix('.') not in formats or path.is_dir():
        raise ValueError(f'--plot {path} is no file that Matplotlib writes: name it .png')


def plot(reports: Sequence[dict], path: Path) -> None:
    """Write the figure: PSNR and MS-SSIM over bytes a crop, means over all crops of a report.

    `reports` are those of `evaluate(…, rates=True)` on the same crops.
    """
    first = reports[0]
    measures = {'psnr': 'PSNR, dB', 'ms_ssim': 'MS-SSIM'}
    measures = {key: title for key, title in measures.items() if first[key] is not None}
    figure, _ = plt.subplots(1, len(measures), figsize=(6 * len(measures), 4.5))
    for axes, (key, title) in zip(figure.axes, measures.items(), strict=True):
        for codec, color in CODECS.items():
            draw_curve(axes, first['rates'][codec], key, color=color, label=codec)
        largest = max(reports, key=lambda report: report['dims'])
        if pca := largest['rates'].get('pca'):
            label = 'PCA, a byte a number, rounding left out'
            draw_curve(axes, pca, key, color='tab:gray', linestyle='--', label=label)
        for report, color in zip(reports, MODELS[: len(reports)], strict=True):
            draw_model(axes, report, key, color)
        axes.set_xscale('log', base=2)
        axes.xaxis.set_major_formatter('{x:.0f}')
        axes.set_xlabel('bytes a crop')
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    size = first['crop']
    what = f'{first["crops"]} {first["protocol"]} crops of {size}×{size} pixels'
    figure.suptitle(what, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_curve(axes: Axes, curve: dict, key: str, **style) -> None:
    """Draw one measure of a curve's settings over their bytes."""
    points = sorted((step['bytes'], step[key]) for step in curve.values())
    axes.plot(*zip(*points, strict=True), marker='.', ms=4, **style)


def draw_model(axes: Axes, report: dict, key: str, color: str) -> None:
    """Draw a model's wire forms, and its entropy-coded latents at finer and coarser steps."""
    draw_curve(axes, report['rates']['entropy_int8'], key, color=color, lw=1)
    name = report['model'].split('@')[0]
    for form, values in report['wire'].items():
        if values is not None:
            label = f'{name}, {form}'
            place = values['bytes'], values[key]
            axes.plot(*place, MARKERS[form], color=color, label=label)
