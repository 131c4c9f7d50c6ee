# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The Markdown documents of the repository: their code blocks, links and headings."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
GENERATED = {DOCS / 'reference' / name for name in ('commands.md', 'nodes.md', 'messages.md')}
SHELLS = {'sh', 'bash', 'console'}


class Block(NamedTuple):
    """A fenced code block, or a comment `<!-- test: WORDS -->`, which has the language 'test'.

    `flags` are the words in braces after the language: `{test file=a.py}` is
    `{'test': '', 'file': 'a.py'}`.
    """

    language: str
    flags: dict[str, str]
    text: str
    line: int


def pages():
    """Return the documents for users: README.md and docs/."""
    return [ROOT / 'README.md', *sorted(DOCS.rglob('*.md'))]


def name(path):
    return str(path.relative_to(ROOT))


@cache
def tokens(path):
    return tuple(MarkdownIt('commonmark').enable('table').parse(path.read_text()))


def blocks(path):
    """Return the code blocks and test comments of a document, in its order."""
    found = []
    for token in tokens(path):
        line = token.map[0] + 1 if token.map else 0
        if token.type == 'fence':
            language, _, rest = token.info.strip().partition(' ')
            flags = re.fullmatch(r'\{(.*)\}', rest.strip())
            pairs = (word.partition('=') for word in (flags[1] if flags else '').split())
            found.append(Block(language, {k: v for k, _, v in pairs}, token.content, line))
        elif token.type == 'html_block':
            for words in re.findall(r'<!-- test: (.*?) -->', token.content):
                found.append(Block('test', {}, words, line))
    return found


def inline(path):
    """Return the tokens of running text: text, code, links and images."""
    return [child for token in tokens(path) for child in token.children or ()]


def links(path):
    """Return the targets of the links and images of a document."""
    targets = (token.attrGet('href') or token.attrGet('src') for token in inline(path))
    return [target for target in targets if target]


def anchors(path):
    """Return the anchors of the headings of a document, as GitHub and the site make them."""
    found = set()
    for heading, content in zip(tokens(path), tokens(path)[1:], strict=False):
        if heading.type == 'heading_open':
            text = ''.join(
                t.content for t in content.children if t.type in ('text', 'code_inline')
            )
            found.add(re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-'))
    return found


def shell_lines(block):
    """Return the commands of a shell block: continued lines are joined, comments removed."""
    joined = block.text.replace('\\\n', ' ')
    lines = (re.sub(r'(^|\s+)#.*', '', line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def shell_text(path):
    """Return the commands of all shell blocks of a document."""
    return [line for each in blocks(path) if each.language in SHELLS for line in shell_lines(each)]


def code_in_text(path):
    """Return the code in the running text of a document."""
    return [token.content for token in inline(path) if token.type == 'code_inline']


def split(line):
    """Return the words of each command in a line of shell, without variables before a command."""
    try:
        words = shlex.split(line)
    except ValueError:  # text with an apostrophe, not a command
        return
    command = []
    for word in [*words, ';']:
        if re.fullmatch(r'[|&;<>]+', word):
            if command:
                yield command
            command = []
        elif command or not re.fullmatch(r'\w+=.*', word):
            command.append(word)


def shell_commands(path):
    """Return the commands in shell blocks and in code of the text, as lists of words."""
    lines = shell_text(path) + code_in_text(path)
    return [words for line in lines for words in split(line)]
