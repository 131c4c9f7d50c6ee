# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reports of `sage eval` as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from sage_perception.evaluation.scores import PASS

NAME = 30
QUALITY = (('psnr', 'PSNR dB', 9, 2), ('ssim', 'SSIM', 8, 3), ('ms_ssim', 'MS-SSIM', 9, 3))
PERCEPTUAL = ('perceptual', 'perceptual', 12, 3)
BYTES = ('bytes', 'bytes', 9, 0)


def text(reports: Sequence[dict]) -> str:
    """Return one report after another, and how similar images stay by size of the latent."""
    return '\n\n'.join([*(single(report) for report in reports), sizes(reports)])


def single(report: dict) -> str:
    """Return the tables of one model: quality by kind of crop, wire forms, image codecs."""
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
        float32 = figures['wire']['float32']['bytes']
        lines.append(row(f'{kind} ({figures["crops"]})', {**figures, 'bytes': float32}, columns))
        for name, values in figures['baselines'].items():
            lines.append(row(f'  {name}', values, columns))
    columns = (*QUALITY, BYTES)
    lines += ['', header('the latent on the wire', columns)]
    for form, values in report['wire'].items():
        lines.append(row(f'  {form}', values, columns))
    lines += ['', header("image codecs for the latent's quality", columns)]
    for name, values in report['at_equal_quality'].items():
        reached = '' if values['reached'] == 1 else f', {values["reached"]:.1%} reach it'
        lines.append(row(f'  {name}{reached}', values, columns))
    if probe := report.get('probe'):
        pca = '–' if probe['pca'] is None else f'{probe["pca"]:.3f}'
        lines += [
            '',
            f'linear classifier of {len(probe["classes"])} classes, right on '
            f'{probe["latent"]:.3f} of {probe["test_images"]} images by latents, {pca} by '
            f'PCA, {probe["chance"]:.3f} by chance',
        ]
    return '\n'.join(lines)


def sizes(reports: Sequence[dict]) -> str:
    """Return similarities by model: means, and the shares of crops above the line."""
    measures = (
        ('ssim', 'SSIM'),
        ('ms_ssim', 'MS-SSIM'),
        ('perceptual_similarity', '1 − perceptual'),
    )
    lines = [f'{"":{NAME}}' + ''.join(f'{title:>16}{f"> {PASS}":>8}' for _, title in measures)]
    for kind in reports[0]['sets']:
        lines.append(kind)
        for report in reports:
            figures = report['sets'][kind]
            rows = {f'  {report["model"].split("@")[0]}, {report["dims"]} numbers': figures}
            if figures['baselines']['pca']:
                rows[f'  PCA, {report["dims"]} numbers'] = figures['baselines']['pca']
            for name, values in rows.items():
                cells = ''.join(
                    cell(values[key], 16, 3) + cell(values['above_085'][key], 8, 2)
                    for key, _ in measures
                )
                lines.append(f'{name:{NAME}}{cells}')
    return '\n'.join(lines)


def header(name: str, columns) -> str:
    """Return the line above a table."""
    return f'{name:{NAME}}' + ''.join(f'{title:>{width}}' for _, title, width, _ in columns)


def row(name: str, values: dict | None, columns) -> str:
    """Return a line of a table; `–` where nothing was measured."""
    values = values or {}
    cells = (cell(values.get(key), width, digits) for key, _, width, digits in columns)
    return f'{name:{NAME}}' + ''.join(cells)


def cell(value: float | None, width: int, digits: int) -> str:
    """Return a number, flush right."""
    return f'{"–":>{width}}' if value is None else f'{value:{width}.{digits}f}'
