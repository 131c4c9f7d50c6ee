# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The documents name commands, options, parameters, topics and sources that exist."""

import argparse
import re
import shlex
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from documents import GENERATED, ROOT, name, pages, shell_commands, shell_text, split

from sage_perception.bringup.graph import NODES
from sage_perception.bringup.node_class import node_class
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES
from sage_perception.cli.main import COMMANDS
from sage_perception.vision.sources.uri import parse_uri

sys.path.insert(0, str(ROOT / 'tools'))
from doc_reference import commands as command_reference
from doc_reference import messages as message_reference

WRITTEN = [pytest.param(path, id=name(path)) for path in pages() if path not in GENERATED]
OTHER_TOPICS = {'/diagnostics', '/clock', '/parameter_events', '/rosout'}
EXAMPLE_DRIVERS = ('/camera/', '/front/')


@cache
def parser_of(command):
    return command_reference.parser_of(command)


def is_form(words):
    """Return whether a command has placeholders for arguments, as in `sage keys trust …`."""
    return any('…' in word or word.startswith(('[', '$')) for word in words)


def check_command(words):
    """Raise `ValueError` if a command of `sage` or one of its options does not exist."""
    command, *arguments = words[1:]
    if command in ('--version', '--help') or command.isupper():
        return
    arguments = [word for word in arguments if not word.isupper()]
    if command not in COMMANDS:
        raise ValueError(f'sage {command} does not exist')
    parser = parser_of(command)
    known = command_reference.subparsers(parser)
    if arguments and arguments[0] in known:
        own = known[arguments[0]]
    elif known and arguments and not arguments[0].startswith(('-', '…')):
        raise ValueError(f'sage {command} {arguments[0]} does not exist')
    else:
        own = parser
    options = {option for action in own._actions for option in action.option_strings}
    for word in arguments:
        option = word.partition('=')[0]
        if re.match(r'--?[a-zA-Z]', option) and option not in options:
            raise ValueError(f'{" ".join(words)}: unknown option {option}')


def parse_command(words):
    """Parse a complete command as `sage` would, without running it."""
    try:
        parser_of(words[1]).parse_args(words[2:])
    except SystemExit as end:
        raise ValueError(f'{shlex.join(words)} is not accepted') from end


@pytest.mark.parametrize('path', pages(), ids=name)
def test_commands_exist_with_their_options(path):
    for words in shell_commands(path):
        if words[0] == 'sage' and len(words) > 1:
            check_command(words)


@pytest.mark.parametrize('path', WRITTEN)
def test_commands_in_blocks_are_complete(path):
    for words in (words for line in shell_text(path) for words in split(line)):
        if words[0] == 'sage' and not is_form(words):
            parse_command(words)


def test_unknown_options_are_found():
    for words in ('sage upp', 'sage up x --sauce0 y', 'sage keys forge x', 'sage record -z'):
        with pytest.raises(ValueError, match='sage'):
            check_command(words.split())
    with pytest.raises(ValueError, match='not accepted'):
        parse_command(['sage', 'up'])


@cache
def parameters():
    """Return the parameters of each node by the name of the node."""
    return {node: {p.name: p for p in node_class(f'{node}_node').PARAMETERS} for node in NODES}


def assignments(path):
    """Return the arguments of `--set` in a document, as node, parameter and value."""
    for words in shell_commands(path):
        for option, text in pairwise(words):
            if option == '--set' and '=' in text:
                target, _, value = text.partition('=')
                node, _, parameter = target.partition('.')
                yield node.rpartition('/')[2], parameter, value


@pytest.mark.parametrize('path', WRITTEN)
def test_parameters_exist(path):
    for node, parameter, _ in assignments(path):
        assert parameter in parameters()[node], f'{node} has no parameter {parameter}'
    for words in shell_commands(path):
        if words[:3] == ['ros2', 'param', 'set'] and len(words) > 4:
            assert words[4] in parameters()[words[3].rpartition('/')[2]]
        for option, text in pairwise(words):
            if words[:2] == ['ros2', 'run'] and option == '-p':
                assert text.partition(':=')[0] in parameters()[words[3].removesuffix('_node')]


@cache
def topics():
    """Return the names of all topics and services, without their namespaces."""
    known = set()
    for node in NODES:
        tables = node_class(f'{node}_node')
        for each in (*tables.PUBLISHES, *tables.SUBSCRIBES, *tables.SERVES):
            known.add(each.name.removeprefix('{camera}/').removeprefix('~/'))
    return known


@pytest.mark.parametrize('path', WRITTEN)
def test_topics_exist(path):
    for words in shell_commands(path):
        if words[:2] not in (['sage', 'record'], ['sage', 'replay'], ['ros2', 'topic']):
            continue
        for word in words[2:]:
            if not word.startswith('/') or word in OTHER_TOPICS or ':=' in word:
                continue
            if not word.startswith(EXAMPLE_DRIVERS):
                assert any(word.endswith(f'/{topic}') for topic in topics()), word


@pytest.mark.parametrize('path', WRITTEN)
def test_source_uris_are_valid(path):
    for words in shell_commands(path):
        for option, text in pairwise(words):
            uri = text if option.startswith('--source') else ''
            uri = uri or (option.partition(':=')[2] if option.startswith('source') else '')
            if '://' in uri and '…' not in uri:
                parse_uri(uri)


@pytest.mark.parametrize('path', WRITTEN)
def test_launch_arguments_exist(path):
    for words in shell_commands(path):
        if words[:2] == ['ros2', 'launch'] and len(words) > 3:
            assert (ROOT / 'launch' / words[3]).is_file(), words[3]
            for word in words[4:]:
                argument = word.partition(':=')[0]
                assert word == '--show-args' or argument in launch_arguments(words[3]), word


def launch_arguments(file):
    """Return the names of the arguments of a launch file, read from the code without `launch`."""
    source = (ROOT / 'sage_perception' / 'bringup' / 'launch_description.py').read_text()
    names = re.findall(r"_argument\(\s*f?'([\w{}]+)'", source)
    assert {'namespace', 'use_rviz', 'source{suffix}'} <= set(names)
    suffixes = [''] if file.startswith('single') else ['0', '1']
    optional = {f'use_{node.name}' for node in OPTIONAL_NODES}
    return optional | {name.format(suffix=suffix) for name in names for suffix in suffixes}


def test_rviz_configuration_shows_topics_of_the_graph():
    text = (ROOT / 'config' / 'sage.rviz').read_text()
    shown = set(re.findall(r'^ +Value: (?:/?cam\d/)?([a-z_]+)$', text, re.MULTILINE)) - {
        'true',
        'false',
    }
    published = {t.name.removeprefix('{camera}/') for t in node_class('viewer_node').PUBLISHES}
    assert len(shown) >= 3
    assert shown <= published | topics()


def test_reference_of_commands_has_every_option():
    text = command_reference.page()
    for command in COMMANDS:
        parsers = [parser_of(command), *command_reference.subparsers(parser_of(command)).values()]
        for action in (action for parser in parsers for action in parser._actions):
            if action.help != argparse.SUPPRESS and action.dest != 'help':
                for option in action.option_strings:
                    assert f'`{option}' in text


def test_reference_does_not_depend_on_the_user():
    assert f'{Path.home()}/' not in command_reference.page()


def test_definitions_of_messages_are_read():
    description, fields = message_reference.read(
        '# A thing,\n# described.\n\n'
        'uint8 KIND_A=1  # first\nfloat32[<=4] values   # one\n    # two\n'
    )
    assert description == 'A thing, described.'
    assert fields == [
        ('uint8', 'KIND_A', '1', 'first'),
        ('float32[<=4]', 'values', None, 'one two'),
    ]
    with pytest.raises(ValueError, match='is not a field'):
        message_reference.read('uint8')
