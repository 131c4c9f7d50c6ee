# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage doctor`: check the installation and suggest fixes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from sage_perception import __version__
from sage_perception.cli.terminal import EXIT_FAILED, Parser, examples
from sage_perception.installation import MISSING, OK, OPTIONAL, Finding, check_all

COLORS = {OK: 32, OPTIONAL: 33, MISSING: 31}  # ANSI: green, yellow, red


def text(findings: Sequence[Finding], colored: bool) -> str:
    """Return the findings as text, with the fix below each problem."""
    width = max(len(finding.name) for finding in findings)
    lines = [f'sage {__version__}']
    for name, state, detail, fix in (asdict(finding).values() for finding in findings):
        shown = f'{state:8}'
        shown = f'\x1b[{COLORS[state]}m{shown}\x1b[0m' if colored else shown
        lines.append(f'{shown} {name:{width}}  {detail}')
        if fix:
            lines.append(f'{"":{9 + width}}  fix: {fix}')
    return '\n'.join(lines)


def parser() -> Parser:
    """Return the parser of `sage doctor`."""
    parser = Parser(
        prog='sage doctor',
        description='Check the installation: packages, ROS, middleware, models, cameras, folders '
        'and shared memory. The exit code is 1 if something is missing that nodes or commands '
        'require.',
        epilog=examples('sage doctor --json'),
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage doctor`; return 1 if something is missing that nodes or commands require."""
    args = parser().parse_args(argv)
    findings = check_all()
    if args.json:
        print(json.dumps({'version': __version__, 'findings': [asdict(f) for f in findings]}))
    else:
        print(text(findings, sys.stdout.isatty()))
    missing = any(finding.state == MISSING for finding in findings)
    return EXIT_FAILED if missing else 0


if __name__ == '__main__':
    sys.exit(main())
