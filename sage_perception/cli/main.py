# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The `sage` command: dispatch to the subcommands."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from sage_perception import __version__
from sage_perception.cli.terminal import EXIT_USAGE


class Command(NamedTuple):
    """A subcommand: its group in the help text and one line of help.

    The subcommand `a-b` is the function `main` of the module `sage_perception.cli.a_b`, which
    takes the arguments and returns the exit code. The module is imported only when its command
    runs, so that `sage --help` starts fast and works while packages are missing.
    """

    group: str
    help: str


RUN, BAGS, IMAGES = 'Run', 'Bags', 'Images and memory'
MODELS, TRUST, DIAGNOSTICS = 'Models', 'Keys and trust', 'Diagnostics'

COMMANDS = {
    'up': Command(RUN, 'Start a node graph as processes'),
    'demo': Command(RUN, 'Run the two-camera graph on a video and measure it'),
    'benchmark': Command(RUN, 'Measure rates, latency, CPU, memory and power on this machine'),
    'record': Command(BAGS, 'Record topics to an MCAP bag'),
    'replay': Command(BAGS, 'Publish the messages of a bag'),
    'regress': Command(BAGS, 'Compare the offline replay of a bag with its baseline'),
    'encode': Command(IMAGES, 'Encode image files to latents'),
    'decode': Command(IMAGES, 'Decode latents to images'),
    'reconstruct': Command(IMAGES, 'Show images beside their reconstructions'),
    'memory': Command(IMAGES, 'Search the memory of a robot or a fleet'),
    'models': Command(MODELS, 'List the models, or show a model card'),
    'train': Command(MODELS, 'Train a model'),
    'export': Command(MODELS, 'Export a training run as a model artifact'),
    'codebook': Command(MODELS, 'Train the codebook of a model'),
    'context': Command(MODELS, 'Record H contexts from videos to train compressors'),
    'eval': Command(MODELS, 'Evaluate models on images'),
    'irp': Command(MODELS, 'List the refinement plugins'),
    'keys': Command(TRUST, 'Create signing keys and manage trusted keys'),
    'align': Command(TRUST, 'Measure the compatibility of two models and fit a map between them'),
    'trust-matrix': Command(TRUST, 'Measure the compatibility of every pair of models'),
    'calibrate-trust': Command(TRUST, 'Fit the trust estimates of a model'),
    'doctor': Command(DIAGNOSTICS, 'Check the installation and suggest fixes'),
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
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe early, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(arguments: list[str]) -> int:
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
        module = importlib.import_module(f'sage_perception.cli.{name.replace("-", "_")}')
    except ModuleNotFoundError as error:
        print(f'sage {name}: {error}; run "sage doctor" for the fix', file=sys.stderr)
        return EXIT_USAGE
    return module.main(arguments[1:]) or 0


if __name__ == '__main__':
    sys.exit(main())
