# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage calibrate-trust`: fit the trust estimates of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.terminal import Parser, examples, report_errors


def parser() -> Parser:
    """Return the parser of `sage calibrate-trust`."""
    parser = Parser(
        prog='sage calibrate-trust',
        description='Fit the trust estimates of a model and write them to trust.json in its '
        'folder. Print the figures on held-out files as one JSON object.',
        epilog=examples('sage calibrate-trust tinyvae config/train/tinyvae.yaml'),
    )
    parser.add_argument('model', metavar='MODEL', help='name or folder of the model')
    parser.add_argument(
        'config', type=Path, metavar='CONFIG', help='training configuration of the model'
    )
    return parser


@report_errors('sage calibrate-trust')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage calibrate-trust`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    import cv2

    from sage_perception.models import load_crop_codec
    from sage_perception.training.config import read_config
    from sage_perception.training.trust.calibrate import calibrate_trust

    cv2.setNumThreads(1)
    data = read_config(args.config).data
    codec = load_crop_codec(args.model)
    fitted, report = calibrate_trust(codec, data)
    path = fitted.write(codec.artifact.path)
    print(json.dumps({**report, 'file': str(path)}, indent=1))
    return 0
