# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The page of the commands, generated from their argument parsers."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from doc_reference.markdown import code, escape, prose, table
from sage_perception.cli.main import COMMANDS
from sage_perception.cli.terminal import Parser

INTRODUCTION = """\
# Commands

All options of the `sage` command. `sage COMMAND --help` shows the same text.

The exit code of every command is 0 on success, 1 if the command ran and reports a negative result,
and 2 if the arguments or the input cannot be used. Errors are one line on standard error.

"""


class _Found(BaseException):
    """Carries the parser of a command out of its main function."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the argument parser of a command of `sage`.

    The main function of the command runs until it parses its arguments.
    """
    module = importlib.import_module(f'sage_perception.cli.{command.replace("-", "_")}')

    def capture(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _Found(parser)

    with patch.object(Parser, 'parse_args', capture):
        try:
            module.main([])
        except _Found as found:
            parser: argparse.ArgumentParser = found.args[0]
            return parser
    raise TypeError(f'sage {command} has no argument parser')


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the subcommands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def page() -> str:
    """Return the page, with the defaults of a user without settings in the environment."""
    own = [name for name in os.environ if name.startswith(('SAGE_', 'XDG_'))]
    with patch.dict(os.environ):
        for name in own:
            del os.environ[name]
        return _page()


def _page() -> str:
    overview = table(
        ('command', 'description'),
        [(f'[`sage {name}`](#sage-{name})', escape(c.help)) for name, c in COMMANDS.items()],
    )
    return INTRODUCTION + overview + ''.join(f'\n{section(name)}' for name in COMMANDS)


def section(command: str) -> str:
    """Return the section of a command and of its subcommands."""
    parser = parser_of(command)
    parts = list(_parts(parser, f'sage {command}', '##'))
    for name, own in subparsers(parser).items():
        parts += _parts(own, f'sage {command} {name}', '###')
    return _portable('\n'.join(parts))


def _parts(parser: argparse.ArgumentParser, name: str, level: str) -> Iterator[str]:
    yield f'{level} {name}\n'
    yield code([_usage(parser, name)], 'sh')
    if parser.description:
        yield prose(parser.description)
    rows = [row for action in parser._actions for row in _rows(parser, action)]
    if rows:
        yield table(('argument', 'description'), rows)
    if parser.epilog:
        yield prose(parser.epilog)


def _usage(parser: argparse.ArgumentParser, name: str) -> str:
    """Return one line: the command and its positional arguments."""
    words = [name]
    if any(action.option_strings and action.dest != 'help' for action in parser._actions):
        words.append('[OPTIONS]')
    for action in parser._actions:
        if not action.option_strings:
            words.append(_value(action))
    return ' '.join(words)


def _rows(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[tuple[str, str]]:
    if action.dest == 'help' or action.help == argparse.SUPPRESS:
        return
    if isinstance(action, argparse._SubParsersAction):
        return
    value = _value(action)
    names = [f'{name} {value}'.rstrip() for name in action.option_strings] or [value]
    text = parser._get_formatter()._expand_help(action) if action.help else ''
    required = '; required' if action.required and action.option_strings else ''
    yield ', '.join(f'`{name}`' for name in names), escape(text) + required


def _value(action: argparse.Action) -> str:
    """Return the placeholder of the values of an argument, as argparse shows it."""
    if action.nargs == 0:
        return ''
    if isinstance(action.metavar, str):
        name = action.metavar
    elif action.choices is not None:
        name = '{' + ','.join(map(str, action.choices)) + '}'
    else:
        name = action.dest.upper() if action.option_strings else action.dest
    if isinstance(action, argparse._SubParsersAction):
        return f'{name} …'
    if isinstance(action.nargs, int):
        return ' '.join([name] * action.nargs)
    forms = {'?': f'[{name}]', '*': f'[{name} …]', '+': f'{name} [{name} …]'}
    return forms.get(str(action.nargs), name)


def _portable(text: str) -> str:
    """Return text without the home folder of this machine."""
    return text.replace(str(Path.home()), '~')
