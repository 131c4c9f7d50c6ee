# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage align`: measure the compatibility of two models and fit a map between them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.core.progress import progress
from sage_perception.models import load_observation_model
from sage_perception.trust.compatibility.estimator import (
    CompatibilityEstimator,
    CompatibilityResult,
)
from sage_perception.trust.compatibility.map_cache import latent_map_folder, latent_map_path
from sage_perception.trust.compatibility.probe_set import probe_latents
from sage_perception.trust.compatibility.report import MeasuredTrust


def trust_figures(trust: MeasuredTrust) -> dict[str, float | str | None]:
    """Return a measured trust as rounded JSON values."""
    return {
        'forward': round(trust.forward, 4),
        'backward': round(trust.backward, 4),
        'compression_trust': round(trust.compression_trust, 4),
        'level': trust.level.name,
        'action': trust.level.action,
        'psnr': finite(trust.psnr),
    }


def finite(value: float) -> float | None:
    """Return a rounded number; None for NaN, which JSON cannot represent."""
    return None if math.isnan(value) else round(value, 3)


def describe(result: CompatibilityResult, receiver: str, file: Path | None) -> dict[str, Any]:
    """Return the JSON object that `sage align --json` prints; `file` holds the latent map."""
    return {
        'receiver': receiver,
        'sender': str(result.sender),
        'before': trust_figures(result.before),
        'after': trust_figures(result.after),
        'own_psnr': finite(result.own_psnr),
        'recovered_db': finite(result.recovered_db),
        'calibrated': result.calibrated,
        'decision': result.decision,
        'method': result.latent_map.method,
        'r2': round(result.latent_map.r2, 4),
        'p_value': result.latent_map.p_value,
        'fitted_on': result.latent_map.image_count,
        'file': None if file is None else str(file),
    }


def text(result: dict[str, Any]) -> str:
    """Return the object of `describe` as a table."""
    lines = [
        f'Latents of {result["sender"]} in {result["receiver"]}:',
        f'{"":8}{"forward":>9}{"backward":>10}{"trust":>8}{"PSNR, dB":>10}  level',
    ]
    for when in ('before', 'after'):
        row = result[when]
        psnr = '–' if row['psnr'] is None else f'{row["psnr"]:.2f}'
        lines.append(
            f'{when:8}{row["forward"]:9.3f}{row["backward"]:10.3f}'
            f'{row["compression_trust"]:8.3f}{psnr:>10}  {row["level"]}: {row["action"]}'
        )
    recovered = result['recovered_db']
    gain = '' if recovered is None else f'; gain of the map: {recovered:.2f} dB'
    lines += [
        f'PSNR of own latents: {result["own_psnr"]:.2f} dB{gain}',
        f'Map: {result["method"]} on {result["fitted_on"]} probe images, '
        f'R² {result["r2"]:.4f} on the others, p = {result["p_value"]:.3f}',
        f'Decision: {result["decision"]}',
    ]
    if result['file']:
        lines.append(f'Map stored in {result["file"]}')
    return '\n'.join(lines)


def parser() -> Parser:
    """Return the parser of `sage align`."""
    parser = Parser(
        prog='sage align',
        description='Measure how well model RECEIVER can use latents of model SENDER, before and '
        'after a map between their latent spaces that is fitted on the probe images. The map is '
        'stored, and used by the arbiter.',
        epilog=examples('sage align tinyvae tinyvae_128'),
    )
    parser.add_argument('receiver', metavar='RECEIVER', help='name or folder of a model')
    parser.add_argument('sender', metavar='SENDER', help='name or folder of a model')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument(
        '--cache',
        type=Path,
        default=latent_map_folder(),
        metavar='FOLDER',
        help='folder of the stored maps (default: %(default)s)',
    )
    return parser


@report_errors('sage align')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage align`; return the exit code."""
    args = parser().parse_args(argv)
    receiver, sender = load_observation_model(args.receiver), load_observation_model(args.sender)
    with progress('measuring the compatibility'):
        result = CompatibilityEstimator(receiver, args.cache).evaluate(
            probe_latents(sender), sender.id
        )
    path = latent_map_path(args.cache, sender.id.fingerprint, receiver.id.fingerprint)
    stored = result.latent_map.significant and path.is_file()
    described = describe(result, str(receiver.id), path if stored else None)
    print(json.dumps(described) if args.json else text(described))
    return 0
