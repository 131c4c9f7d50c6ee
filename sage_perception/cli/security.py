# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage security`: SROS2 policies and keystores of node graphs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.graph_arguments import add_graph_arguments, graph_of
from sage_perception.cli.terminal import Parser, add_command, examples, report_errors
from sage_perception.core.files import write_atomically

DESCRIPTION = """\
Restrict a node graph with SROS2: only nodes with a key take part, and each node publishes, \
subscribes and serves only what its tables name.

GRAPH and its options are those of sage up. Give the same ones to all of these commands: the \
policy depends on robots, cameras, image topics, optional nodes and composition. Every process \
has the enclave of its name, such as /cam0/encoder. Camera drivers use /inputs, and tools such as \
sage record, Foxglove and ros2 param use /operator.

SROS2 requires a middleware with DDS Security, which the wheels of "make build" do not have; sage \
doctor shows whether this installation has it. docs/security.md describes what is protected.
"""


def policy(args: argparse.Namespace) -> None:
    """Print the policy of a graph, or write it."""
    from sage_perception.installation.policy import enclaves_of, policy_xml

    _write(policy_xml(enclaves_of(graph_of(args))), args.output)


def enclaves(args: argparse.Namespace) -> None:
    """Print a script that makes the keystore of a graph, or write it."""
    from sage_perception.installation.policy import enclaves_of, recipe

    script = recipe(enclaves_of(graph_of(args)), args.keystore, args.policy)
    _write(script, args.output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end='')
    else:
        write_atomically(output, text)
        print(f'{output} written')


def parser() -> Parser:
    """Return the parser of `sage security`."""
    top = Parser(
        prog='sage security',
        description=DESCRIPTION,
        epilog=examples(
            'sage security policy -o policy.xml dual_camera --memory',
            'sage security enclaves -o keystore.sh dual_camera --memory',
            'sh keystore.sh',
        ),
    )
    commands = top.add_subparsers(required=True, metavar='COMMAND')
    own = add_command(commands, 'policy', policy, 'print the SROS2 policy of a graph (XML)')
    _add_arguments(own)
    own = add_command(
        commands, 'enclaves', enclaves, 'print a script that makes the keystore of a graph'
    )
    own.add_argument(
        '--keystore',
        default='sage_keystore',
        metavar='FOLDER',
        help='folder of the keystore (default: sage_keystore)',
    )
    own.add_argument(
        '--policy',
        default='policy.xml',
        metavar='FILE',
        help='policy file that the script uses (default: policy.xml)',
    )
    _add_arguments(own)
    return top


def _add_arguments(own: argparse.ArgumentParser) -> None:
    own.add_argument(
        '-o', '--output', type=Path, metavar='FILE', help='write a file (default: print)'
    )
    add_graph_arguments(own)


@report_errors('sage security')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage security`; return the exit code."""
    args = parser().parse_args(argv)
    args.run(args)
    return 0
