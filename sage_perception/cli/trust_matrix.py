# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage trust-matrix`: measure the compatibility of every pair of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.core.progress import progress, track
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.probe_set import probe_latents
from sage_perception.trust.compatibility.report import LEVEL_BOUNDS, Level

COLORS = {
    Level.NONE: '#d98880',
    Level.LOW: '#f5cba7',
    Level.MEDIUM: '#f9e79f',
    Level.HIGH: '#a9dfbf',
}


def measure(models: Sequence[Model]) -> tuple[np.ndarray, np.ndarray]:
    """Return the compression trust as sent and after alignment, both `[receiver, sender]`."""
    sent = [probe_latents(model) for model in track(models, 'encoding the probe images')]
    before, after = np.zeros((2, len(models), len(models)))
    with progress('evaluating pairs of models', len(models) ** 2) as bar:
        for row, receiver in enumerate(models):
            estimator = CompatibilityEstimator(receiver)
            for column, sender in enumerate(models):
                result = estimator.evaluate(sent[column], sender.id)
                before[row, column] = result.before.compression_trust
                after[row, column] = result.trust.compression_trust
                bar.advance()
    return before, after


def draw(names: Sequence[str], before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Write the matrices as an image file, one cell per pair, colored by level."""
    import matplotlib

    from sage_perception.reports.figures import write_figure

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    colormap = ListedColormap(list(COLORS.values()))
    norm = BoundaryNorm([0, *LEVEL_BOUNDS, 1.0], len(COLORS))
    side = max(3.0, 0.75 * len(names) + 1.2)
    size = 2 * side + 0.5, side + 1.5
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, layout='constrained')
    for ax, values, title in zip(axes, (before, after), ('as sent', 'aligned'), strict=True):
        ax.imshow(np.clip(values, 0, 0.999), cmap=colormap, norm=norm)
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
        Patch(color=color, label=f'{level.name}: {level.action}')
        for level, color in COLORS.items()
    ]
    figure.suptitle('Compression trust: receivers in rows, senders in columns')
    figure.legend(handles=patches, loc='outside lower center', ncols=2, fontsize=8, frameon=False)
    write_figure(figure, path)
    plt.close(figure)


def parser() -> Parser:
    """Return the parser of `sage trust-matrix`."""
    parser = Parser(
        prog='sage trust-matrix',
        description='Measure the compression trust of every pair of models, as sent and after '
        'alignment, and draw it as a matrix.',
        epilog=examples('sage trust-matrix tinyvae tinyvae_128 tinyvae32 -o matrix.png'),
    )
    parser.add_argument(
        'models', nargs='+', metavar='MODEL', help='names or folders of the models'
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='FILE', help='image file to write'
    )
    return parser


@report_errors('sage trust-matrix')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage trust-matrix`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.models import load_observation_model
    from sage_perception.reports.figures import check_figure_file

    codecs = [load_observation_model(model) for model in args.models]
    check_figure_file('--output', args.output)
    before, after = measure(codecs)
    draw([Path(model).name for model in args.models], before, after, args.output)
    lowest = float(after.min())
    print(
        f'{args.output}: {len(args.models)} models, lowest trust {lowest:.2f} '
        f'({Level.of(lowest).name})'
    )
    return 0
