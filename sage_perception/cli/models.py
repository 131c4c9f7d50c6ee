# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""List the models that come with the package, or show one's card: `sage models [NAME]`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.codecs.codebook import CODEBOOK
from sage_perception.models import artifact
from sage_perception.models.artifact import LATENT_MEAN, Artifact
from sage_perception.models.registry import available, resolve
from sage_perception.trust import fitted


def described(model: Artifact) -> dict[str, Any]:
    """Return what a list says of a model."""
    config, latent = model.config, model.tensors[LATENT_MEAN].shape
    if 'input_dim' in config:
        takes = f'{config["input_dim"]} numbers'
    else:
        color = 'RGB' if config['input_channels'] == 3 else 'gray'
        takes = f'{config["img_size"]}×{config["img_size"]} {color}'
    return {
        'name': model.id.name,
        'version': model.id.version,
        'takes': takes,
        'numbers': '×'.join(map(str, latent)),
        'parameters': model.parameters,
        'space': model.id.fingerprint.hex()[:8],
        'tokens': (model.path / CODEBOOK).is_file(),
        'trust': (model.path / fitted.FILE).is_file(),
        'folder': str(model.path),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a list of models for people."""
    lines = [f'{"model":22}{"takes":>14}{"numbers":>10}{"parameters":>12}  latents   beside it']
    for row in rows:
        beside = ', '.join(what for what in ('tokens', 'trust') if row[what])
        lines.append(
            f'{row["name"] + " " + row["version"]:22}{row["takes"]:>14}{row["numbers"]:>10}'
            f'{row["parameters"]:12,}  {row["space"]}  {beside}'.rstrip()
        )
    lines.append('Models of the same latents read each other; sage models NAME shows a card.')
    return '\n'.join(lines)


@in_one_line('sage models')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage models`; return the exit code."""
    parser = Parser(prog='sage models', description=__doc__)
    parser.add_argument('model', nargs='?', help='name or folder of the model to show the card of')
    parser.add_argument('--json', action='store_true', help='print a list of JSON objects')
    args = parser.parse_args(argv)
    folders = [resolve(args.model)] if args.model else list(available().values())
    models = [artifact.read(folder) for folder in folders]
    rows = [described(model) for model in models]
    if args.json:
        print(json.dumps(rows))
    elif args.model and models[0].card:
        print(models[0].card, end='')
    else:
        print(table(rows))
    return 0
