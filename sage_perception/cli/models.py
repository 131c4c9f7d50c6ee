# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage models`: list the models of the package, or show a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.codecs.codebook import CODEBOOK
from sage_perception.models import artifact, identity
from sage_perception.models.artifact import LATENT_MEAN, Artifact
from sage_perception.models.registry import available, resolve
from sage_perception.trust import fitted

USES = {
    'audio': 'latents and words of sounds',
    'codes': 'identity and semantic codes of crops',
    'fusion': 'the crop that words mean',
    'h_to_l': 'compression of contexts',
    'lightweight': 'latents of whole images',
    'semantic_text': 'codes of images and words',
    'slots': 'object slots of images',
    'tinyvae': 'latents of crops',
}
"""What the models of a family are for."""


def interface(model: Artifact) -> tuple[str, str]:
    """Return what a model takes, in words, and the dimensions of its codes."""
    if model.family == 'fusion':
        return 'words and crops', str(model.count('fused_dim'))
    if model.family == 'audio':
        takes = f'{model.count("frames")}×{model.count("bands")} log-mel'
        return takes, str(model.count('latent_dim'))
    if 'code_dim' in model.config:
        latent = str(model.count('code_dim'))
    else:
        latent = '×'.join(map(str, model.tensor(LATENT_MEAN).shape))
    if 'input_dim' in model.config:
        return f'{model.count("input_dim")}-D context', latent
    color = 'RGB' if model.count('input_channels') == 3 else 'gray'
    return f'{model.count("img_size")}×{model.count("img_size")} {color}', latent


def summary(model: Artifact) -> dict[str, Any]:
    """Return the entry of a model in the list, JSON-compatible."""
    takes, latent = interface(model)
    return {
        'name': model.id.name,
        'version': model.id.version,
        'use': USES.get(model.family, ''),
        'input': takes,
        'latent': latent,
        'parameters': model.parameters,
        'fingerprint': model.id.fingerprint.hex()[:8],
        'codebook': (model.path / CODEBOOK).is_file(),
        'trust': (model.path / fitted.FILE).is_file(),
        'identity': (model.path / identity.WEIGHTS).is_file(),
        'folder': str(model.path),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the list of models as a text table."""
    lines = [f'{"model":22}{"input":>16}{"latent":>10}{"parameters":>12}  space     use']
    for row in rows:
        extras = ', '.join(name for name in ('codebook', 'trust', 'identity') if row[name])
        lines.append(
            f'{row["name"] + " " + row["version"]:22}{row["input"]:>16}{row["latent"]:>10}'
            f'{row["parameters"]:12,}  {row["fingerprint"]}  {row["use"]}'
            f'{f" ({extras})" if extras else ""}'.rstrip()
        )
    lines.append(
        'Models of one space decode each other\'s latents. "sage models NAME" shows a card.'
    )
    return '\n'.join(lines)


def parser() -> Parser:
    """Return the parser of `sage models`."""
    parser = Parser(
        prog='sage models',
        description='List the models of this package, or show the card of one.',
        epilog=examples('sage models', 'sage models tinyvae'),
    )
    parser.add_argument('model', nargs='?', help='name or folder of a model (default: list all)')
    parser.add_argument('--json', action='store_true', help='print a JSON list')
    return parser


@report_errors('sage models')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage models`; return the exit code."""
    args = parser().parse_args(argv)
    folders = [resolve(args.model)] if args.model else list(available().values())
    models = [artifact.read(folder) for folder in folders]
    rows = [summary(model) for model in models]
    if args.json:
        print(json.dumps(rows))
    elif args.model and models[0].card:
        print(models[0].card, end='')
    else:
        print(table(rows))
    return 0
