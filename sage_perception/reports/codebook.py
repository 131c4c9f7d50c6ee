# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The report of `sage codebook` as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sage_perception.evaluation.codebook import BEAM


def codebook_table(report: Mapping[str, Any]) -> str:
    """Return the figures of `evaluate_codebook` as tables."""
    lines = [
        f'{report["model"]}: {report["levels"]} levels of {report["codes"]} codes, '
        f'{report["dims"]}-D, {report["bits_per_token"]} bits per token',
    ]
    for where, found in report['usage'].items():
        dead = found['dead_codes']
        lines.append(
            f'{where.replace("_", "-")} latents: {dead[0]} dead codes in the first level, '
            f'at most {max(dead)} in a level; all sources use {found["in_common"]:.0%} of the '
            'used codes'
        )
        lines += [
            f'  {name:8}perplexity {values[0]:.0f} of the first level, {values[-1]:.0f} of the '
            'last'
            for name, values in found['perplexity'].items()
        ]
    beam = f'beam search, width {BEAM}'
    lines += [
        f'{"held-out crops":16}{"":24}{"nearest code":26}{beam}',
        f'{"":8}{"levels":>8}{"bytes":>7}'
        + 2 * f'{"latent MSE":>12}{"PSNR dB":>9}{"loss":>7}{"MS-SSIM":>9}',
    ]
    for kind, rows in report['sets'].items():
        lines.append(
            f'{kind:8}{"float32":>8}{rows[0]["bytes"]:7}{0:12.4f}{rows[0]["psnr"]:9.2f}'
            f'{0:7.2f}{rows[0]["ms_ssim"]:9.3f}'
        )
        lines += [
            f'{"":8}{row["levels"]:8}{row["bytes"]:7}'
            + ''.join(
                f'{row[p + "latent_mse"]:12.4f}{row[p + "psnr"]:9.2f}'
                f'{row[p + "loss_db"]:7.2f}{row[p + "ms_ssim"]:9.3f}'
                for p in ('', 'beam_')
            )
            for row in rows[1:]
        ]
    for search, limits in report['levels_for_loss_db'].items():
        lines.append(
            f'{search}: '
            + '; '.join(
                f'≤ {limit} dB '
                + (f'{v["levels"]} levels, {v["bytes"]} bytes' if v else 'needs more levels')
                for limit, v in limits.items()
            )
        )
    return '\n'.join(lines)
