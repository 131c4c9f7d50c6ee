# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Plot quality over bytes: the encodings of latents, PCA, and image codecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from sage_perception.models import Codec, ModelError
from sage_perception.reports.figures import check_figure_file, write_figure

Report = Mapping[str, Any]

CODECS = {'webp': 'tab:blue', 'jpeg': 'tab:orange', 'avif': 'tab:green'}
MARKERS = {'float32': 's', 'float16': 'D', 'int8': 'o', 'entropy_int8': '^', 'vq': '*'}
MODELS = ('tab:red', 'tab:purple', 'tab:brown', 'tab:pink', 'tab:olive', 'tab:cyan', 'k', 'gold')


def check_plot(codecs: Sequence[Codec], path: Path) -> None:
    """Check that models can share one figure and that it can be written to `path`.

    A missing folder is created. Raises `ModelError`, `OSError` or `ValueError`.
    """
    if len(codecs) > len(MODELS):
        raise ModelError(f'--plot: {len(codecs)} models are too many: plot at most {len(MODELS)}')
    for name, values in (
        ('sizes', {codec.input_size for codec in codecs}),
        ('colors', {codec.input_channels for codec in codecs}),
    ):
        if len(values) > 1:
            raise ModelError(
                f'--plot: the models take crops of different {name}: plot them separately'
            )
    check_figure_file('--plot', path)


def plot(reports: Sequence[Report], path: Path) -> None:
    """Write a figure of PSNR and MS-SSIM over bytes per crop, averaged over all crops.

    `reports` are those of `evaluate_models(…, rates=True)`.
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
            label = 'PCA, one byte per component, not rounded'
            draw_curve(axes, pca, key, color='tab:gray', linestyle='--', label=label)
        for report, color in zip(reports, MODELS[: len(reports)], strict=True):
            draw_model(axes, report, key, color)
        axes.set_xscale('log', base=2)
        axes.xaxis.set_major_formatter('{x:.0f}')
        axes.set_xlabel('bytes per crop')
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    size = first['crop']
    title = f'{first["crops"]} {first["protocol"]} crops of {size}×{size} pixels'
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    write_figure(figure, path)
    plt.close(figure)


def draw_curve(axes: Axes, curve: Report, key: str, **style: Any) -> None:
    """Draw one measure of the settings of a curve over their bytes."""
    points = sorted((step['bytes'], step[key]) for step in curve.values())
    axes.plot(*zip(*points, strict=True), marker='.', ms=4, **style)


def draw_model(axes: Axes, report: Report, key: str, color: str) -> None:
    """Draw the encodings of a model, and the curve of its entropy-coded latents over the step."""
    draw_curve(axes, report['rates']['entropy_int8'], key, color=color, lw=1)
    name = report['model'].split('@')[0]
    for encoding, values in report['encoding'].items():
        if values is not None:
            label = f'{name}, {encoding}'
            point = values['bytes'], values[key]
            axes.plot(*point, MARKERS[encoding], color=color, label=label)
