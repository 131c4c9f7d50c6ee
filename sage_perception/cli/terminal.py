# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers that the commands share: argument types, error reporting and signals."""

from __future__ import annotations

import argparse
import functools
import math
import re
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

EXIT_FAILED, EXIT_USAGE = 1, 2

Main = Callable[[Sequence[str] | None], int]


class HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, but keeps indented lines, such as examples, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            keep = not line.strip() or line.startswith(' ')
            lines += [line] if keep else textwrap.wrap(line, width)
        return '\n'.join(indent + line for line in lines)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{'formatter_class': HelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        """Print `message` and exit with `EXIT_USAGE`."""
        self.exit(EXIT_USAGE, f'{self.prog}: {message} (see {self.prog} --help)\n')


def examples(*lines: str) -> str:
    """Return the epilog of a parser with example commands, one per line."""
    title = 'example:' if len(lines) == 1 else 'examples:'
    return '\n'.join([title, *(f'  {line}' for line in lines)])


def add_command(
    commands: argparse._SubParsersAction, name: str, run: Callable, summary: str
) -> argparse.ArgumentParser:
    """Return the parser of a new subcommand `name`.

    `summary` is its one-line help, lower case and without a full stop. The parsed arguments hold
    `run`, the function that executes the subcommand.
    """
    own = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + '.'
    )
    own.set_defaults(run=run)
    return own


def report_errors(command: str) -> Callable[[Main], Main]:
    """Return a decorator that reports the errors of a command's main function in one line.

    It catches the errors that a user can cause: `OSError`, `ValueError` (the base class of the
    package's own errors) and `ModuleNotFoundError`. The message goes to stderr in place of a
    traceback, and the function returns `EXIT_USAGE`.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            try:
                return main(argv)
            except BrokenPipeError:  # the reader of our output closed the pipe: not an error
                raise
            except (OSError, ValueError, ModuleNotFoundError) as error:
                print(f'{command}: {error}', file=sys.stderr)
                return EXIT_USAGE

        return run

    return decorate


def positive_int(text: str) -> int:
    """Return an argument as an integer of at least 1, for the `type` of an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number of 1 or more')
    return int(text)


def positive(text: str) -> float:
    """Return an argument as a finite number above 0, for the `type` of an option."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not a positive number')
    return value


def non_negative(text: str) -> float:
    """Return an argument as a finite number of 0 or more, for the `type` of an option."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not a number of 0 or more')
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number') from None


def regex(text: str) -> re.Pattern[str]:
    """Return an argument as a compiled regular expression, for the `type` of an option."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a regular expression: {error}'
        ) from None


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Yield an event that SIGINT, SIGTERM and SIGHUP set while the context is active."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda *_: stop.set()) for n in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
