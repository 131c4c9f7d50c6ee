# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The `sage` command: one name for what people do with the package."""

from __future__ import annotations

import os
import pkgutil
import sys

from sage_perception import __version__
from sage_perception.cli.terminal import EXIT_USAGE

# Each is module:function, called with the arguments and returning the exit code; the module is
# imported only when its command is called.
COMMANDS = {
    'up': ('sage_perception.cli.up:main', 'run a graph of nodes without launch'),
    'doctor': (
        'sage_perception.cli.doctor:main',
        'see what is installed, what is missing, and the fix',
    ),
    'keys': ('sage_perception.cli.keys:main', 'make keys, and say whose are believed'),
    'record': ('sage_perception.bags.record:main', 'record topics to a bag'),
    'replay': ('sage_perception.bags.replay:main', 'play a bag'),
    'encode': ('sage_perception.codecs.images:encode', 'turn images into latents'),
    'decode': ('sage_perception.codecs.images:decode', 'turn latents into images'),
    'reconstruct': (
        'sage_perception.codecs.images:reconstruct',
        'show what a model keeps of images',
    ),
    'context': (
        'sage_perception.training.contexts.recording:main',
        'record contexts of 4096 numbers from clips',
    ),
    'models': ('sage_perception.cli.models:main', 'list the models, or show the card of one'),
    'train': ('sage_perception.training.train:main', 'train a model'),
    'export': (
        'sage_perception.training.export:main',
        'turn a training run into a model artifact',
    ),
    'codebook': ('sage_perception.training.codebook:main', 'train the tokens of a model'),
    'calibrate-trust': (
        'sage_perception.training.trust_calibration:main',
        'fit what tells how far the latents of a model can be trusted',
    ),
    'eval': ('sage_perception.evaluation.evaluate:main', 'measure models on images'),
    'align': (
        'sage_perception.cli.align:main',
        'measure how far two models understand each other, and fit a map between them',
    ),
    'trust-matrix': (
        'sage_perception.cli.align:main_matrix',
        'the same for each pair of several models, as an image',
    ),
    'irp': ('sage_perception.irp.discovery:main', 'list what can be refined under a budget'),
    'memory': ('sage_perception.cli.memory:main', 'look into what a robot remembers'),
    'demo': ('sage_perception.cli.demo:main', 'run two cameras on recorded footage, and measure'),
}


def usage() -> str:
    """Return the help text."""
    commands = '\n'.join(f'  {name:<12} {what}' for name, (_, what) in COMMANDS.items())
    return (
        f'usage: sage COMMAND [options]\n\n{commands}\n\n'
        'sage COMMAND --help explains a command; sage --version prints the version.'
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if argv else EXIT_USAGE
    if argv[0] in ('-V', '--version'):
        print(f'sage {__version__}')
        return 0
    if argv[0] not in COMMANDS:
        print(f'sage: there is no command {argv[0]!r}\n\n{usage()}', file=sys.stderr)
        return EXIT_USAGE
    target, _ = COMMANDS[argv[0]]
    sys.argv[0] = f'sage {argv[0]}'
    try:
        run = pkgutil.resolve_name(target)
    except ModuleNotFoundError as error:
        print(f'sage {argv[0]}: {error}: see `sage doctor`', file=sys.stderr)
        return EXIT_USAGE
    try:
        code = run(argv[1:]) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == '__main__':
    sys.exit(main())
