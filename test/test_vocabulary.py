# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of docs/architecture.md: the field's words, in code and in prose."""

import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
THIS = Path(__file__).relative_to(ROOT)

# Words that no identifier contains, as one of its parts: `own_pictures` has the part `pictures`.
PARTS = {
    'afresh',
    'artefact',
    'artefacts',
    'believe',
    'believed',
    'believes',
    'blame',
    'catalogue',
    'complain',
    'complaint',
    'complaints',
    'dissent',
    'enlarge',
    'hear',
    'heard',
    'hears',
    'hearsay',
    'hungry',
    'landscape',
    'listener',
    'movers',
    'picture',
    'pictures',
    'ration',
    'reckoning',
    'refusal',
    'refusals',
    'said',
    'say',
    'says',
    'seal',
    'seat',
    'seats',
    'sieve',
    'speak',
    'speaker',
    'speakers',
    'speaks',
    'spoken',
    'stranger',
    'strangers',
    'trainee',
    'vouches',
    'whoever',
    'worth',
}
# Whole identifiers: classes, functions, parameters and topics that have another name now.
NAMES = {
    'Bent': '',
    'Calibrate': '',
    'Entry': '',
    'Eye': '',
    'Gather': '',
    'Half': '',
    'History': '',
    'Leader': '',
    'Screen': '',
    'absorb_s': '',
    'emit': '',
    'least_novelty': '',
    'recall_after_s': '',
    'relations': '',
    'standing': '',
    'sync_patience_s': '',
}
PREFIXES = ('MOST_', 'LEAST_', 'LARGEST_', 'SMALLEST_', 'LONGEST_')

# Words that native readers stumbled over; regular expressions, case-insensitive.
PROSE = {
    'afresh': r'\bafresh\b',
    'anew': r'\banew\b',
    'anybody': r'\banybody\b',
    'artefact': r'\bartefacts?\b',
    'believe': r'\b(dis)?believ(e|es|ed|ing)\b',
    'blame': r'\bblam(e|ed|es)\b',
    'complain': r'\bcomplain(s|ed|t|ts)?\b',
    'floor': r'\bfloors?\b',
    'hear': r'\b(hear|hears|heard|hearsay)\b',
    'house': r'\bhouses?\b',
    'kept apart': r'\bkept apart\b',
    'landscape': r'\blandscapes?\b',
    'mend': r'\bmend(s|ed|ing)?\b',
    'movers': r'\bmovers?\b',
    'nobody': r'\bnobody\b',
    'numbers for dimensions': r'\b(16|64|128|256|4,?096) numbers\b',
    'picture': r'\bpictures?\b',
    'reckon': r'\breckon(s|ed|ing)?\b',
    'say': r'\b(say|says|said)\b',
    'seal': r'\bseal(s|ed|ing)?\b',
    'somebody': r'\bsomebody\b',
    'speak': r'\b(speak|speaks|spoke|spoken|speaker|speakers)\b',
    'stranger': r'\bstrangers?\b',
    'trainee': r'\btrainees?\b',
    'whoever': r'\bwho(m?ever|soever)\b',
    'worth': r'\bworth\b',
}

# (file, pattern): why the word stays there.
ALLOWED: dict[tuple[str, str], str] = {
    ('sage_perception/training/puzzle/sentences.py', 'floor'): 'a place where a ball lies',
    ('bench/translation_parts/fsdd.py', 'speak'): 'the name of the data set',
    ('bench/translation_parts/arm.py', 'speak'): 'a key of the results',
    ('sage_perception/memory/row.py', 'speak'): 'a key of the on-disk format',
    ('CHANGELOG.rst', '*'): 'the table of renames has the old names',
    ('docs/architecture.md', '*'): 'describes the vocabulary',
    ('sage_perception/bags/legacy.py', '*'): 'maps the old names in bags of earlier releases',
}


@cache
def files() -> tuple[Path, ...]:
    """Return the tracked text files of the project, relative to its root."""
    listed = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True
    ).stdout.split('\n')
    suffixes = {'.py', '.md', '.yaml', '.rst', '.msg', '.srv', '.xml', '.txt', '.cfg', '.ini'}
    chosen = (Path(name) for name in listed if name and name != str(THIS))
    return tuple(
        path
        for path in chosen
        if path.suffix in suffixes
        and path.parts[:2] != ('test', 'data')
        and (ROOT / path).is_file()
        and (str(path), '*') not in ALLOWED
    )


def is_allowed(path: Path, word: str) -> bool:
    return (str(path), word) in ALLOWED


def parts(name: str) -> set[str]:
    """Return the words of an identifier, in lower case."""
    return {part.lower() for part in re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+', name)}


@cache
def tokens(path: Path) -> tuple[tokenize.TokenInfo, ...]:
    text = (ROOT / path).read_text()
    return tuple(tokenize.generate_tokens(io.StringIO(text).readline))


@pytest.mark.parametrize('path', [p for p in files() if p.suffix == '.py'], ids=str)
def test_identifiers_have_the_words_of_the_field(path):
    faults = []
    for token in tokens(path):
        if token.type != tokenize.NAME:
            continue
        old = parts(token.string) & PARTS
        old |= {token.string} & set(NAMES)
        old |= {prefix for prefix in PREFIXES if token.string.startswith(prefix)}
        faults += [
            f'line {token.start[0]}: {token.string}'
            for word in sorted(old)
            if not is_allowed(path, word)
        ]
    assert not faults, f'{path}: ' + '; '.join(faults)


@pytest.mark.parametrize('path', files(), ids=str)
def test_prose_has_the_words_of_the_field(path):
    faults = []
    for number, line in enumerate(prose(path), 1):
        for word, pattern in PROSE.items():
            if re.search(pattern, line, re.IGNORECASE) and not is_allowed(path, word):
                faults.append(f'line {number}: {word}')
    assert not faults, f'{path}: ' + '; '.join(faults)


def prose(path: Path) -> list[str]:
    """Return the lines of a file; of Python only its comments and strings."""
    lines = (ROOT / path).read_text().splitlines()
    if path.suffix != '.py':
        return lines
    kept = [''] * len(lines)
    for token in tokens(path):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.splitlines()):
                kept[token.start[0] - 1 + offset] += ' ' + line
    return kept
