# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reports of `sage eval` as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sage_perception.evaluation.scores import PASS_SIMILARITY

Report = Mapping[str, Any]
Column = tuple[str, str, int, int]
"""Key, title, width and decimals."""

NAME_WIDTH = 30
QUALITY: tuple[Column, ...] = (
    ('psnr', 'PSNR dB', 9, 2),
    ('ssim', 'SSIM', 8, 3),
    ('ms_ssim', 'MS-SSIM', 9, 3),
)
PERCEPTUAL: Column = ('perceptual', 'perceptual', 12, 3)
BYTES: Column = ('bytes', 'bytes', 9, 0)


def evaluation_tables(reports: Sequence[Report]) -> str:
    """Return the tables of each report, then a table of similarities of all models."""
    return '\n\n'.join([*(model_tables(report) for report in reports), similarity_table(reports)])


def model_tables(report: Report) -> str:
    """Return the tables of one model: quality by kind of crop, encodings, image codecs."""
    time = report['latency_ms_b1']
    lines = [
        f'{report["model"]} on {report["backend"]}: {report["params"]} parameters, '
        f'{report["dims"]} dimensions, {report["active_dims"]} active; '
        f'encode {time["encode"]} ms, decode {time["decode"]} ms',
        '',
    ]
    columns = (*QUALITY, PERCEPTUAL, BYTES)
    lines.append(header(f'{report["protocol"]} crops of {report["crop"]} px', columns))
    for kind, figures in report['sets'].items():
        float32 = figures['encoding']['float32']['bytes']
        lines.append(row(f'{kind} ({figures["crops"]})', {**figures, 'bytes': float32}, columns))
        for name, values in figures['baselines'].items():
            lines.append(row(f'  {name}', values, columns))
    columns = (*QUALITY, BYTES)
    lines += ['', header('encodings of the latent', columns)]
    for encoding, values in report['encoding'].items():
        lines.append(row(f'  {encoding}', values, columns))
    lines += ['', header('image codecs at the same PSNR', columns)]
    for name, values in report['at_equal_quality'].items():
        reached = '' if values['reached'] == 1 else f', reached on {values["reached"]:.1%}'
        lines.append(row(f'  {name}{reached}', values, columns))
    if probe := report.get('probe'):
        pca = '–' if probe['pca'] is None else f'{probe["pca"]:.3f}'
        lines += [
            '',
            f'linear classifier, {len(probe["classes"])} classes, {probe["test_images"]} test '
            f'images: accuracy {probe["latent"]:.3f} with latents, {pca} with PCA, '
            f'{probe["chance"]:.3f} by chance',
        ]
    return '\n'.join(lines)


def similarity_table(reports: Sequence[Report]) -> str:
    """Return the mean similarities by model, and the shares of crops above the threshold."""
    measures = (
        ('ssim', 'SSIM'),
        ('ms_ssim', 'MS-SSIM'),
        ('perceptual_similarity', '1 − perceptual'),
    )
    passing = f'> {PASS_SIMILARITY}'
    lines = [f'{"":{NAME_WIDTH}}' + ''.join(f'{title:>16}{passing:>8}' for _, title in measures)]
    for kind in reports[0]['sets']:
        lines.append(kind)
        for report in reports:
            figures = report['sets'][kind]
            rows = {f'  {report["model"].split("@")[0]}, {report["dims"]}-D': figures}
            if figures['baselines']['pca']:
                rows[f'  PCA, {report["dims"]}-D'] = figures['baselines']['pca']
            for name, values in rows.items():
                cells = ''.join(
                    cell(values[key], 16, 3) + cell(values['above_085'][key], 8, 2)
                    for key, _ in measures
                )
                lines.append(f'{name:{NAME_WIDTH}}{cells}')
    return '\n'.join(lines)


def header(name: str, columns: Sequence[Column]) -> str:
    """Return the header line of a table."""
    return f'{name:{NAME_WIDTH}}' + ''.join(f'{title:>{width}}' for _, title, width, _ in columns)


def row(name: str, values: Report | None, columns: Sequence[Column]) -> str:
    """Return a line of a table, with `–` for missing values."""
    values = values or {}
    cells = (cell(values.get(key), width, digits) for key, _, width, digits in columns)
    return f'{name:{NAME_WIDTH}}' + ''.join(cells)


def cell(value: float | None, width: int, digits: int) -> str:
    """Return a number, right-aligned, or `–` for None."""
    return f'{"–":>{width}}' if value is None else f'{value:{width}.{digits}f}'
