# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The `sage` command: dispatch to the subcommands."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

from sage_perception import __version__
from sage_perception.cli.terminal import EXIT_USAGE


class Command(NamedTuple):
    """A subcommand.

    `target` is `module:function`. The function takes the arguments and returns the exit code. The
    module is imported only when its command runs, so that `sage --help` starts fast and works
    while packages are missing.
    """

    group: str
    target: str
    help: str


RUN, BAGS, IMAGES = 'Run', 'Bags', 'Images and memory'
MODELS, TRUST, DIAGNOSTICS = 'Models', 'Keys and trust', 'Diagnostics'

COMMANDS = {
    'up': Command(RUN, 'sage_perception.cli.up:main', 'Start a node graph as processes'),
    'demo': Command(
        RUN, 'sage_perception.cli.demo:main', 'Run the two-camera graph on a video and measure it'
    ),
    'record': Command(BAGS, 'sage_perception.cli.record:main', 'Record topics to an MCAP bag'),
    'replay': Command(BAGS, 'sage_perception.cli.replay:main', 'Publish the messages of a bag'),
    'encode': Command(IMAGES, 'sage_perception.cli.encode:main', 'Encode image files to latents'),
    'decode': Command(IMAGES, 'sage_perception.cli.decode:main', 'Decode latents to images'),
    'reconstruct': Command(
        IMAGES,
        'sage_perception.cli.reconstruct:main',
        'Show images beside their reconstructions',
    ),
    'memory': Command(
        IMAGES, 'sage_perception.cli.memory:main', 'Search the memory of a robot or a fleet'
    ),
    'models': Command(
        MODELS, 'sage_perception.cli.models:main', 'List the models, or show a model card'
    ),
    'train': Command(MODELS, 'sage_perception.cli.train:main', 'Train a model'),
    'export': Command(
        MODELS,
        'sage_perception.cli.export:main',
        'Export a training run as a model artifact',
    ),
    'codebook': Command(
        MODELS, 'sage_perception.cli.codebook:main', 'Train the codebook of a model'
    ),
    'context': Command(
        MODELS,
        'sage_perception.cli.context:main',
        'Record H contexts from videos to train compressors',
    ),
    'eval': Command(MODELS, 'sage_perception.cli.eval:main', 'Evaluate models on images'),
    'irp': Command(MODELS, 'sage_perception.cli.irp:main', 'List the refinement plugins'),
    'keys': Command(
        TRUST, 'sage_perception.cli.keys:main', 'Create signing keys and manage trusted keys'
    ),
    'align': Command(
        TRUST,
        'sage_perception.cli.align:main',
        'Measure the compatibility of two models and fit a map between them',
    ),
    'trust-matrix': Command(
        TRUST,
        'sage_perception.cli.trust_matrix:main',
        'Measure the compatibility of every pair of models',
    ),
    'calibrate-trust': Command(
        TRUST,
        'sage_perception.cli.calibrate_trust:main',
        'Fit the trust estimates of a model',
    ),
    'doctor': Command(
        DIAGNOSTICS, 'sage_perception.cli.doctor:main', 'Check the installation and suggest fixes'
    ),
}


def usage() -> str:
    """Return the help text: the commands by group, each with one line."""
    groups = dict.fromkeys(command.group for command in COMMANDS.values())
    lines = ['usage: sage COMMAND [OPTIONS]', '']
    for group in groups:
        lines.append(f'{group}:')
        lines += [f'  {n:<16} {c.help}' for n, c in COMMANDS.items() if c.group == group]
        lines.append('')
    lines.append('Run "sage COMMAND --help" for the options of a command and an example.')
    lines.append('Run "sage --version" for the version.')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if arguments else EXIT_USAGE
    if arguments[0] in ('-V', '--version'):
        print(f'sage {__version__}')
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        print(f'sage: unknown command {name!r}\n\n{usage()}', file=sys.stderr)
        return EXIT_USAGE
    sys.argv[0] = f'sage {name}'
    try:
        run = pkgutil.resolve_name(COMMANDS[name].target)
    except ModuleNotFoundError as error:
        print(f'sage {name}: {error}; run "sage doctor" for the fix', file=sys.stderr)
        return EXIT_USAGE
    try:
        code = run(arguments[1:]) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe early, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == '__main__':
    sys.exit(main())
