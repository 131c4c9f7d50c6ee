# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands do alike: options, mistakes, signals, one line of progress."""

from __future__ import annotations

import argparse
import functools
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

EXIT_FAILED, EXIT_USAGE = 1, 2

Main = Callable[[Sequence[str] | None], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> None:
        """Print what is wrong and end with `EXIT_USAGE`."""
        self.exit(EXIT_USAGE, f'{self.prog}: {message} (see {self.prog} --help)\n')


def add_command(
    commands: argparse._SubParsersAction, name: str, run: Callable, what: str
) -> argparse.ArgumentParser:
    """Return the parser of a new command among `commands`; `what` says what it does.

    Its arguments have `run` with them, for whoever parsed them to call.
    """
    own = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + '.')
    own.set_defaults(run=run)
    return own


def in_one_line(command: str) -> Callable[[Main], Main]:
    """Have the main function of a command return `EXIT_USAGE` for what a user can cause.

    That is `OSError`, `ValueError`, of which our own errors are, and a package that is missing.
    One line says what is wrong, in the place of a traceback.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            try:
                return main(argv)
            except BrokenPipeError:  # of whoever reads what we print: no mistake
                raise
            except (OSError, ValueError, ModuleNotFoundError) as error:
                print(f'{command}: {error}', file=sys.stderr)
                return EXIT_USAGE

        return run

    return decorate


def positive(text: str) -> float:
    """Read an option that is a number above 0."""
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError('0 is not positive')
    return value


def not_negative(text: str) -> float:
    """Read an option that is a number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number') from None
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is not a number of 0 or more')
    return value


def expression(text: str) -> re.Pattern:
    """Read an option that is a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no regular expression: {error}') from None


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and the end of the terminal set."""
    told = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda *_: told.set()) for n in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
