# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage request`: send a signed request to a running node."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.memory import stamp_argument
from sage_perception.cli.terminal import Parser, add_command, examples, positive, report_errors
from sage_perception.core.yaml_file import parse_yaml
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import key_folder, load_key

# `lifecycle_msgs/Transition`; the node takes the shutdown of its present state.
TRANSITIONS = {'configure': 1, 'cleanup': 2, 'activate': 3, 'deactivate': 4, 'shutdown': 5}

DESCRIPTION = """\
Send a request to a running node, signed with the key of an operator. Nodes with the parameter \
require_signatures refuse unsigned requests that delete or change something, also those of ros2 \
param set and ros2 lifecycle set.

Create the key once with sage keys create operator, and trust it on the machine of the node with \
sage keys trust operator KEY. The parameter operators of the node names the entities that may \
sign; the default is operator.
"""


def forget(args: argparse.Namespace, identity: Identity) -> None:
    """Delete records of a memory node, and print their number."""
    from sage_perception.ros import requests

    count = requests.forget(
        args.node, identity, args.timeout, args.since, args.until, args.entity, args.track
    )
    print(f'{count} records deleted')


def remember(args: argparse.Namespace, identity: Identity) -> None:
    """Have a memory node store the next LCT of a topic, and print which one."""
    from sage_perception.ros import requests

    stored = requests.remember(args.node, identity, args.timeout, args.topic, args.track)
    print(f'stored: {stored}')


def align(args: argparse.Namespace, identity: Identity) -> None:
    """Have an arbiter measure a camera again, and print the result."""
    from sage_perception.ros import requests

    print(requests.align(args.node, identity, args.timeout, args.receiver, args.sender))


def set_parameters(args: argparse.Namespace, identity: Identity) -> None:
    """Set parameters of a node, all or none."""
    from sage_perception.ros import requests

    requests.set_parameters(args.node, identity, args.timeout, dict(args.values))
    print(f'set: {", ".join(name for name, _ in args.values)}')


def change_state(args: argparse.Namespace, identity: Identity) -> None:
    """Have a lifecycle node perform a transition."""
    from sage_perception.ros import requests

    requests.change_state(args.node, identity, args.timeout, TRANSITIONS[args.transition])
    print(f'done: {args.transition}')


def assignment(text: str) -> tuple[str, object]:
    """Return name and value of a parameter as NAME=VALUE, where VALUE is YAML."""
    name, separator, value = text.partition('=')
    if not name or not separator:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=VALUE')
    try:
        return name, parse_yaml(value, name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@report_errors('sage request')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage request`; return the exit code."""
    args = parser().parse_args(argv)
    identity = Identity(args.operator, load_key(key_folder(args.dir), args.operator))
    # This import takes seconds: arguments and key are checked before.
    import rclpy

    os.environ.update(dds_environment(os.environ))
    rclpy.init(args=[])
    try:
        args.run(args, identity)
    finally:
        rclpy.try_shutdown()
    return 0


def parser() -> Parser:
    """Return the parser of `sage request`."""
    parser = Parser(
        prog='sage request',
        description=DESCRIPTION,
        epilog=examples(
            'sage request forget /memory --entity robot1/cam0 --since 10m',
            'sage request remember /memory --track 7',
            'sage request align /arbiter cam1',
            'sage request set /memory threshold=0.5 min_novelty=0.2',
            'sage request lifecycle /cam0/camera deactivate',
        ),
    )
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    one = add_command(commands, 'forget', forget, 'delete records of a memory node permanently')
    one.add_argument('node', metavar='NODE', help='name of the node, such as /memory')
    one.add_argument(
        '--since', type=stamp_argument, default=0, metavar='TIME', help='earliest time: 10m'
    )
    one.add_argument('--until', type=stamp_argument, default=0, metavar='TIME', help='latest time')
    one.add_argument('--entity', default='', help='observing entity, such as robot1/cam0')
    one.add_argument('--track', type=int, default=0, help='track of the latent')
    kept = add_command(commands, 'remember', remember, 'store an LCT regardless of its salience')
    kept.add_argument('node', metavar='NODE', help='name of the node, such as /memory')
    kept.add_argument(
        '--topic', default='trusted', help='topic whose next LCT is stored (default: trusted)'
    )
    kept.add_argument('--track', type=int, default=0, help='only an LCT of this track')
    other = add_command(commands, 'align', align, 'measure again how well latents can be used')
    other.add_argument('node', metavar='NODE', help='name of the node, such as /arbiter')
    other.add_argument('sender', metavar='SENDER', help='camera that sends the latents')
    other.add_argument('--receiver', default='', help='camera that uses them (default: arbiter)')
    changed = add_command(commands, 'set', set_parameters, 'set parameters')
    changed.add_argument('node', metavar='NODE', help='name of the node, such as /arbiter')
    changed.add_argument(
        'values',
        nargs='+',
        type=assignment,
        metavar='NAME=VALUE',
        help='parameters; all of them are set, or none',
    )
    moved = add_command(commands, 'lifecycle', change_state, 'change the state of a node')
    moved.add_argument('node', metavar='NODE', help='name of the node, such as /cam0/camera')
    moved.add_argument('transition', choices=TRANSITIONS, help='transition of its lifecycle')
    for command in (one, kept, other, changed, moved):
        command.add_argument(
            '--operator', default='operator', help='entity that signs (default: operator)'
        )
        command.add_argument(
            '--dir',
            default='',
            help='folder of the key (default: $SAGE_KEYS, ~/.config/sage/keys)',
        )
        command.add_argument(
            '--timeout', type=positive, default=10.0, metavar='S', help='seconds (default: 10)'
        )
    return parser
