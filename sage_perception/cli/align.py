# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What models make of each other's latents: `sage align`, `sage trust-matrix`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.models import load_crop_codec
from sage_perception.trust.compatibility.estimator import (
    CompatibilityEstimator,
    CompatibilityResult,
    Level,
    Trust,
    probe_latents,
)
from sage_perception.trust.compatibility.latent_map import calibrations_folder, place


def figures(trust: Trust) -> dict[str, float | str | None]:
    """Return what was measured, ready for JSON."""
    return {
        'forward': round(trust.forward, 4),
        'backward': round(trust.backward, 4),
        'compression_trust': round(trust.compression_trust, 4),
        'level': trust.level.name,
        'action': trust.level.action,
        'psnr': finite(trust.psnr),
    }


def finite(value: float) -> float | None:
    """Return a rounded number, None for NaN, which JSON does not know."""
    return None if math.isnan(value) else round(value, 3)


def describe(heard: CompatibilityResult, receiver: str, kept: Path | None) -> dict:
    """Return all that `sage align --json` prints."""
    return {
        'receiver': receiver,
        'sender': str(heard.sender),
        'before': figures(heard.before),
        'after': figures(heard.after),
        'own_psnr': finite(heard.own_psnr),
        'recovered_db': finite(heard.recovered_db),
        'calibrated': heard.calibrated,
        'decision': heard.decision,
        'method': heard.calibration.method,
        'r2': round(heard.calibration.r2, 4),
        'p_value': heard.calibration.p_value,
        'fitted_on': heard.calibration.probes,
        'file': None if kept is None else str(kept),
    }


def show(result: dict) -> None:
    """Print what `describe` returned for people."""
    print(f'{result["receiver"]} hears {result["sender"]}')
    print(f'{"":8}{"forward":>9}{"backward":>10}{"trust":>8}{"PSNR, dB":>10}  level')
    for when in ('before', 'after'):
        row = result[when]
        quality = '–' if row['psnr'] is None else f'{row["psnr"]:.2f}'
        print(
            f'{when:8}{row["forward"]:9.3f}{row["backward"]:10.3f}'
            f'{row["compression_trust"]:8.3f}{quality:>10}  {row["level"]}: {row["action"]}'
        )
    print(f'its own latents decode to {result["own_psnr"]:.2f} dB', end='')
    recovered = result['recovered_db']
    print('' if recovered is None else f'; the calibration recovers {recovered:.2f} dB')
    print(
        f'{result["method"]} on {result["fitted_on"]} probes, '
        f'R² {result["r2"]:.4f} on others, p = {result["p_value"]:.3f}'
    )
    print(result['decision'])
    if result['file']:
        print(f'calibration: {result["file"]}')


@in_one_line('sage align')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage align`; return the exit code."""
    parser = Parser(
        prog='sage align',
        description='Measure how far model A can use the latents of model B, and fit a map.',
    )
    parser.add_argument('receiver', metavar='A', help='name or folder of the one that hears')
    parser.add_argument('sender', metavar='B', help='name or folder of the one that speaks')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument(
        '--cache',
        type=Path,
        default=calibrations_folder(),
        metavar='DIR',
        help='where calibrations are kept (%(default)s)',
    )
    args = parser.parse_args(argv)
    receiver, sender = load_crop_codec(args.receiver), load_crop_codec(args.sender)
    heard = CompatibilityEstimator(receiver, args.cache).hear(probe_latents(sender), sender.id)
    kept = place(args.cache, sender.id.fingerprint, receiver.id.fingerprint)
    result = describe(heard, str(receiver.id), kept if heard.calibration.significant else None)
    if args.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


def matrix(models: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return labels and compression trust before and after, `[receiver, sender]`."""
    codecs = [load_crop_codec(model) for model in models]
    said = [probe_latents(codec) for codec in codecs]
    before, after = np.zeros((2, len(codecs), len(codecs)))
    for row, receiver in enumerate(codecs):
        listener = CompatibilityEstimator(receiver)
        for column, sender in enumerate(codecs):
            heard = listener.hear(said[column], sender.id)
            before[row, column] = heard.before.compression_trust
            after[row, column] = heard.trust.compression_trust
    return [Path(model).name for model in models], before, after


def draw_matrix(names: Sequence[str], before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Write the figure: one cell a pair, colored by level."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    colors = {
        Level.NONE: '#d98880',
        Level.LOW: '#f5cba7',
        Level.MEDIUM: '#f9e79f',
        Level.HIGH: '#a9dfbf',
    }
    scale = ListedColormap(list(colors.values()))
    norm = BoundaryNorm([0, 0.5, 0.7, 0.9, 1.0], len(colors))
    side = max(3.0, 0.75 * len(names) + 1.2)
    size = 2 * side + 0.5, side + 1.5
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, layout='constrained')
    for ax, values, title in zip(axes, (before, after), ('as sent', 'calibrated'), strict=True):
        ax.imshow(np.clip(values, 0, 0.999), cmap=scale, norm=norm)
        ax.set_title(title)
        ax.set_xticks(range(len(names)), names, rotation=35, ha='right')
        ax.set_yticks(range(len(names)), names)
        for (row, column), value in np.ndenumerate(values):
            ax.text(column, row, f'{value:.2f}', ha='center', va='center')
        ax.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        ax.grid(which='minor', color='white', lw=2)
        ax.tick_params(which='both', length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
    patches = [
        Patch(color=c, label=f'{level.name}: {level.action}') for level, c in colors.items()
    ]
    figure.suptitle('Compression trust: rows hear, columns speak')
    figure.legend(handles=patches, loc='outside lower center', ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


@in_one_line('sage trust-matrix')
def main_matrix(argv: Sequence[str] | None = None) -> int:
    """Run `sage trust-matrix`; return the exit code."""
    parser = Parser(
        prog='sage trust-matrix',
        description='Draw the trust between models, each hearing each, before and after '
        'calibration.',
    )
    parser.add_argument('models', nargs='+', metavar='MODEL', help='names or folders')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='MATRIX.png')
    args = parser.parse_args(argv)
    names, before, after = matrix(args.models)
    draw_matrix(names, before, after, args.output)
    worst = Level.of(float(after.min())).name
    print(f'{args.output}: {len(names)} models, the least trust {after.min():.2f} ({worst})')
    return 0


if __name__ == '__main__':
    sys.exit(main())
