# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reports of `sage compare`: a table, a plot, and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from sage_perception.regression.variants import VariantResult
from sage_perception.reports.environment import environment
from sage_perception.reports.figures import write_figure
from sage_perception.reports.html.report import Cell, Chart, Moment, Report, Table
from sage_perception.reports.summary_charts import summary_charts

COLUMNS = (
    ('psnr_db', 'PSNR dB', 2),
    ('ssim', 'SSIM', 3),
    ('bytes_per_lct', 'bytes/LCT', 0),
    ('bytes_per_frame', 'bytes/frame', 0),
    ('lcts', 'LCTs', 0),
    ('matches', 'matches', 0),
    ('agreements', 'agree', 0),
    ('similarity', 'similarity', 3),
    ('trust', 'trust', 3),
    ('encode_ms', 'encode ms', 1),
    ('total_ms', 'total ms', 1),
    ('realtime_factor', 'x real time', 2),
)
"""Key, title and decimals of the columns."""


def variants_table(results: Sequence[VariantResult]) -> str:
    """Return the results as a text table, one line for each bag and variant."""
    titles = ['bag', 'variant', *(title for _, title, _ in COLUMNS)]
    rows = [titles, *([str(cell) for cell in row] for row in _rows(results))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    lines = []
    for row in rows:
        cells = [row[i].ljust(widths[i]) for i in range(2)]
        cells += [row[i].rjust(widths[i]) for i in range(2, len(titles))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)


def _rows(results: Sequence[VariantResult]) -> list[list[str]]:
    rows = []
    for result in results:
        figures = result.figures()
        cells = [
            '–' if figures[key] is None else f'{figures[key]:.{digits}f}'
            for key, _, digits in COLUMNS
        ]
        rows.append([result.bag.name, result.variant.name, *cells])
    return rows


def plot_variants(results: Sequence[VariantResult], path: Path) -> None:
    """Write a figure of PSNR over bytes per LCT, and of time per frame. Raises `OSError`."""
    figure, (quality, times) = plt.subplots(1, 2, figsize=(11, 4.2))
    names = list(dict.fromkeys(result.variant.name for result in results))
    bags = list(dict.fromkeys(result.bag.name for result in results))
    for index, result in enumerate(results):
        figures = result.figures()
        color = f'C{names.index(result.variant.name) % 10}'
        label = result.variant.name if result.bag.name == bags[0] else None
        if figures['psnr_db'] is not None and figures['bytes_per_lct'] is not None:
            point = figures['bytes_per_lct'], figures['psnr_db']
            quality.plot(*point, 'o', color=color, label=label)
            quality.annotate(
                result.bag.name, point, fontsize=7, xytext=(4, 4), textcoords='offset points'
            )
        times.barh(index, figures['total_ms'], color=color)
    quality.set_xlabel('bytes per LCT')
    quality.set_ylabel('PSNR, dB')
    if quality.get_legend_handles_labels()[0]:
        quality.legend(fontsize=8)
    times.set_yticks(range(len(results)), [f'{r.bag.name}, {r.variant.name}' for r in results])
    times.tick_params(axis='y', labelsize=7)
    times.invert_yaxis()
    times.set_xlabel('ms per frame')
    for axes in (quality, times):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    write_figure(figure, path)
    plt.close(figure)


def variants_report(results: Sequence[VariantResult], moments: Sequence[Moment] = ()) -> Report:
    """Return the HTML report: the table, the charts of each bag, and `moments`."""
    bags = list(dict.fromkeys(result.bag for result in results))
    names = list(dict.fromkeys(result.variant.name for result in results))
    charts: list[Chart] = []
    for bag in bags:
        of_bag = {r.variant.name: r.replay.summary for r in results if r.bag == bag}
        for chart in summary_charts(of_bag):
            title = f'{bag.name}: {chart.title}' if len(bags) > 1 else chart.title
            charts.append(replace(chart, title=title))
    rows = tuple(
        (r.bag.name, r.variant.name, *(_cell(r, key, digits) for key, _, digits in COLUMNS))
        for r in results
    )
    titles = ('bag', 'variant', *(title for _, title, _ in COLUMNS))
    note = (
        'PSNR and SSIM compare crops with the reconstructions from the accepted LCTs, each at the '
        'input size of its model. Times are milliseconds per frame on this machine.'
    )
    hashes = tuple(
        (f'{name} of {r.bag.name}, {r.variant.name}', value)
        for r in results
        for name, value in r.replay.summary.hashes.items()
    )
    return Report(
        title=f'Comparison of {" and ".join(names)}',
        summary=f'{len(bags)} bag{"s" * (len(bags) > 1)}, {len(names)} variants.',
        tables=(Table('Results', titles, rows, note),),
        charts=tuple(charts),
        moments=tuple(moments),
        environment=(*environment(), *hashes),
    )


def _cell(result: VariantResult, key: str, digits: int) -> Cell:
    value = result.figures()[key]
    return value if value is None or not digits else round(float(value), digits)
