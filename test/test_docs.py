# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The documents: links, index pages, paths, modules, and the code of examples."""

import importlib
import re
from functools import cache
from pathlib import Path

import pytest
from documents import (
    DOCS,
    GENERATED,
    ROOT,
    anchors,
    blocks,
    code_in_text,
    links,
    name,
    pages,
    shell_text,
)

from sage_perception.bringup.optional_nodes import OPTIONAL_NODES

WRITTEN = [pytest.param(path, id=name(path)) for path in pages() if path not in GENERATED]


def existing(path, target):
    """Return the file that a link names; fail if it is missing."""
    file = (path.parent / target).resolve() if target else path
    assert file.exists(), f'{name(path)}: {target} does not exist'
    return file


@pytest.mark.parametrize('path', pages(), ids=name)
def test_links_lead_to_files_and_headings(path):
    for link in links(path):
        if re.match(r'\w+:', link):
            continue
        target, _, anchor = link.partition('#')
        file = existing(path, target)
        assert file.is_file(), f'{name(path)}: {link} is not a file'
        if anchor and file.suffix == '.md':
            assert anchor in anchors(file), f'{name(path)}: {link} has no such heading'


def test_every_page_is_in_the_index_of_its_folder():
    for path in DOCS.rglob('*.md'):
        folder = path.parent
        if path.name == 'index.md':
            folder, path = folder.parent, path
        if path == DOCS / 'index.md':
            continue
        indices = [folder / 'index.md', DOCS / 'start.md', DOCS / 'explanation.md']
        listed = {(index.parent / link).resolve() for index in indices for link in links(index)}
        entries = {
            (index.parent / f'{entry}.md').resolve()
            for index in indices
            for block in blocks(index)
            if block.language == '{toctree}'
            for entry in block.text.split()
        }
        assert path in entries, f'{name(path)} is in no toctree'
        assert path in listed, f'{name(path)} is not linked in the index'


def test_readme_is_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 200


@pytest.mark.parametrize('path', WRITTEN)
def test_files_in_code_exist(path):
    """Paths of the repository in the text, such as `config/train/tinyvae.yaml`."""
    own = '|'.join(sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] not in '._'))
    wanted = re.compile(rf'(?:{own})(?:/[\w.-]+)+\.\w+')
    for text in shell_text(path) + code_in_text(path):
        for match in wanted.finditer(text):
            before = text[: match.start()]
            if match[0].startswith('out/') or before.endswith(('/', '<', '~')):
                continue
            assert (ROOT / match[0]).exists(), f'{name(path)}: {match[0]} does not exist'


@pytest.mark.parametrize('path', sorted((DOCS / 'reference' / 'python').glob('*.md')), ids=name)
def test_documented_modules_exist(path):
    for module in re.findall(r'automodule:: ([\w.]+)', path.read_text()):
        importlib.import_module(module)


@pytest.mark.parametrize('path', WRITTEN)
def test_python_blocks_compile_and_import_what_exists(path):
    for block in blocks(path):
        if block.language != 'python':
            continue
        compile(block.text, f'{name(path)}:{block.line}', 'exec')
        for line in re.findall(r'^(?:from|import) .*', block.text, re.MULTILINE):
            exec(line, {})


@cache
def known_words():
    """Return the words of the code: of modules, messages, settings, scripts and tests."""
    words = {f'use_{node.name}' for node in OPTIONAL_NODES}
    for folder in ('sage_perception', 'sage_msgs', 'config', 'launch', 'bench', 'tools', 'test'):
        for path in (ROOT / folder).rglob('*'):
            if path.suffix in {'.py', '.msg', '.srv', '.yaml', '.md'} and 'docs' not in path.name:
                words |= set(re.findall(r'\w+', path.read_text()))
                words.add(path.stem)
            elif path.is_dir():
                words.add(path.name)
    return words


@pytest.mark.parametrize('path', WRITTEN)
def test_names_in_the_text_are_those_of_the_code(path):
    """Parameters, topics, fields, functions and files: names with an underscore."""
    own = {Path(block.flags.get('file', '')).stem for block in blocks(path)}
    for text in code_in_text(path):
        for word in re.findall(r'(?<![\w/.-])[a-z]+(?:_[a-z0-9]+)+(?![\w-])', text):
            base = re.sub(r'_\d+$', '', word)
            assert {word, base} & (known_words() | own), f'{name(path)}: {word} is not in the code'
