# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
# PYTHON_ARGCOMPLETE_OK
"""The `sage` command: dispatch to the subcommands."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from sage_perception import __version__
from sage_perception.bringup.prefix import complete_environment, restart
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    EXIT_USAGE,
    Parser,
    describe,
    replace_unencodable,
)
from sage_perception.core.text import did_you_mean


class Command(NamedTuple):
    """A subcommand: its group in the help text and one line of help.

    The subcommand `a-b` is the function `main` of the module `sage_perception.cli.a_b`, which
    takes the arguments and returns the exit code; its function `parser` returns the parser. The
    module is imported only when its command runs, so that `sage --help` starts fast and works
    while packages are missing. It must not import torch or ROS before `main` runs, so that shells
    complete its options fast.
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
    'compare': Command(BAGS, 'Replay bags with several models or parameters, side by side'),
    'view': Command(BAGS, 'Show a bag or a running graph with Rerun'),
    'watch': Command(BAGS, 'Judge the timeline of a recording on a running graph'),
    'encode': Command(IMAGES, 'Encode image files to latents'),
    'decode': Command(IMAGES, 'Decode latents to images'),
    'reconstruct': Command(IMAGES, 'Show images beside their reconstructions'),
    'slots': Command(IMAGES, 'Divide the frames of a video among object slots'),
    'describe': Command(IMAGES, 'Name the object in the center of images'),
    'zspace': Command(IMAGES, 'Draw saliency maps of cameras and their weights over time'),
    'memory': Command(IMAGES, 'Search the memory of a robot or a fleet'),
    'imagine': Command(IMAGES, 'Show images for words, from the memory of a robot'),
    'models': Command(MODELS, 'List the models, or show a model card'),
    'train': Command(MODELS, 'Train a model'),
    'export': Command(MODELS, 'Export a training run as a model artifact'),
    'codebook': Command(MODELS, 'Train the codebook of a model'),
    'context': Command(MODELS, 'Record H contexts from videos to train compressors'),
    'eval': Command(MODELS, 'Evaluate models on images'),
    'irp': Command(MODELS, 'List the refinement plugins'),
    'keys': Command(TRUST, 'Create signing keys and manage trusted keys'),
    'security': Command(TRUST, 'Restrict a graph with SROS2: policy and keystore'),
    'request': Command(TRUST, 'Send a signed request to a running node'),
    'align': Command(TRUST, 'Measure the compatibility of two models and fit a map between them'),
    'trust-matrix': Command(TRUST, 'Measure the compatibility of every pair of models'),
    'calibrate-trust': Command(TRUST, 'Fit the trust estimates of a model'),
    'doctor': Command(DIAGNOSTICS, 'Check the installation and suggest fixes'),
}


EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it. `up`, `record` and `replay` end with 0."""


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
    lines.append('To complete commands and options with Tab, add this line to ~/.bashrc:')
    lines.append('  eval "$(register-python-argcomplete sage)"')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `EXIT_INTERRUPTED` after Ctrl-C."""
    if complete_environment() and argv is None:
        restart()
    for stream in (sys.stdout, sys.stderr):
        replace_unencodable(stream)
    if '_ARGCOMPLETE' in os.environ:
        complete()
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe early, as `head` does
        _discard_output()
        return 0
    except OSError as error:  # commands report their own: this is the output
        _discard_output()
        print(f'sage: {describe(error)}', file=sys.stderr)
        return EXIT_FAILED
    return code


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complete() -> None:
    """Print the completions of the command line that argcomplete passes, and exit."""
    import argcomplete

    line, point = os.environ['COMP_LINE'], int(os.environ['COMP_POINT'])
    _, _, _, words, _ = argcomplete.lexers.split_line(line, point)
    first = int(os.environ['_ARGCOMPLETE'])
    name = words[first] if len(words) > first else ''
    if name in COMMANDS:
        os.environ['_ARGCOMPLETE'] = str(first + 1)  # the command takes the place of the program
        module = importlib.import_module(_module(name))
        argcomplete.autocomplete(module.parser())
    top = Parser(prog='sage')
    top.add_argument('--version', action='store_true')
    top.add_argument('command', choices=list(COMMANDS))
    argcomplete.autocomplete(top, always_complete_options=False)


def _module(name: str) -> str:
    return f'sage_perception.cli.{name.replace("-", "_")}'


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if arguments else EXIT_USAGE
    if arguments[0] in ('-V', '--version'):
        print(f'sage {__version__}')
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or ' (see sage --help)'
        print(f'sage: unknown command {name!r}{hint}', file=sys.stderr)
        return EXIT_USAGE
    sys.argv[0] = f'sage {name}'
    try:
        module = importlib.import_module(_module(name))
    except ModuleNotFoundError as error:
        print(f'sage {name}: {describe(error)}', file=sys.stderr)
        return EXIT_USAGE
    return module.main(arguments[1:]) or 0


if __name__ == '__main__':
    sys.exit(main())
