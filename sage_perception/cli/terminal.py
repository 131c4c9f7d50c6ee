# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers that the commands share: argument types, error reporting and signals."""

from __future__ import annotations

import argparse
import codecs
import errno
import functools
import io
import math
import re
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from sage_perception.core.text import did_you_mean, one_line

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
    """An argument parser that reports an error in one line, and suggests what was meant.

    The help of a subcommand shows those `examples` of its command that call it.
    """

    def __init__(self, *, command_examples: str = '', **options: Any) -> None:
        super().__init__(**{'formatter_class': HelpFormatter, **options})
        own = [line.strip() for line in command_examples.splitlines()]
        own = [line for line in own if f'{line} '.startswith(f'{self.prog} ')]
        if own and self.epilog is None:
            self.epilog = examples(*own)

    def add_subparsers(self, **options: Any) -> Any:
        """Add subcommands, whose parsers are of this class."""
        own = functools.partial(Parser, command_examples=self.epilog or '')
        return super().add_subparsers(**{'parser_class': own, **options})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the parsed arguments; exit with `EXIT_USAGE` for unknown ones."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition('=')[0]
            hint = did_you_mean(option, _options(self)) if option.startswith('-') else ''
            self.error(f'unrecognized arguments: {" ".join(unknown)}{hint}')
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), choices) or f' (choose from {", ".join(choices)})'
        raise argparse.ArgumentError(action, f'invalid choice: {value!r}{hint}')

    def error(self, message: str) -> NoReturn:
        """Print `message` and exit with `EXIT_USAGE`."""
        self.exit(EXIT_USAGE, f'{self.prog}: {message} (see {self.prog} --help)\n')


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options of a parser and of its subcommands."""
    found = list(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [option for each in action.choices.values() for option in _options(each)]
    return found


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
    traceback, and the function returns `EXIT_USAGE`. The message of an `OSError` names its file.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            try:
                return main(argv)
            except BrokenPipeError:  # the reader of our output closed the pipe: not an error
                raise
            except (OSError, ValueError, ModuleNotFoundError) as error:
                print(f'{command}: {describe(error)}', file=sys.stderr)
                return EXIT_USAGE

        return run

    return decorate


def describe(error: Exception) -> str:
    """Return the message of an error on one line, with the file of an `OSError`."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(n) for n in (error.filename, error.filename2) if n is not None]
        # Writers of files add the name (`core.files.replacing`); writes to stdout have none.
        of_output = not names and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        return ': '.join([*(['standard output'] if of_output else names), error.strerror])
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f'{error}; run "sage doctor" for the fix'
    return one_line(error)


# What ASCII text uses for the characters in the texts of this package.
_ASCII = {'…': '...', '×': 'x', '–': '-', '→': '->', '²': '2', 'µ': 'u', '±': '+/-', '·': '*'}


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return ''.join(_ASCII.get(character, '?') for character in text), error.end


codecs.register_error('sage', _replace)


def replace_unencodable(stream: TextIO) -> None:
    """Replace the characters that the encoding of a terminal or file lacks, such as ASCII."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == 'strict':
        stream.reconfigure(errors='sage')


def positive_int(text: str) -> int:
    """Return an argument as an integer of at least 1, for the `type` of an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number of 1 or more')
    return int(text)


def whole_number(text: str) -> int:
    """Return an argument as an integer of at least 0, for the `type` of an option."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number of 0 or more')
    return int(text)


def port(text: str) -> int:
    """Return an argument as the number of a TCP port, for the `type` of an option."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f'{text!r} is not a port, 1 to 65535')
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
