# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage irp`: list the refinement plugins."""

from __future__ import annotations

from collections.abc import Sequence

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.irp.discovery import GROUP, available

DESCRIPTION = f"""\
List the plugins for iterative refinement under a compute budget. A package adds a plugin as an \
entry point of the group {GROUP}; see docs/irp.md.
"""


def parser() -> Parser:
    """Return the parser of `sage irp`."""
    parser = Parser(prog='sage irp', description=DESCRIPTION, epilog=examples('sage irp list'))
    parser.add_argument('action', choices=['list'], help='list the installed plugins')
    return parser


@report_errors('sage irp')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage irp`; return the exit code."""
    parser().parse_args(argv)
    for name, point in available().items():
        package = f'{point.dist.name} {point.dist.version}' if point.dist else ''
        print(f'{name:<16} {point.value}  {package}')
    return 0
