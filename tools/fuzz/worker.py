# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads mutated files in a process of its own: a line of JSON for each line on stdin.

    {"parser": "yaml", "case": 7}  →  {"result": "rejected", "reason": "…"}

A case is determined by its parser and number. The process limits its memory, so that an
unbounded reader fails here and does not slow the machine down.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutations import SPECIAL
from fuzz.parser import Parser
from fuzz.parsers import PARSERS

MEMORY_BYTES = 12 << 30
"""Limit on the address space: the libraries alone reserve several GiB."""
MAX_GROWTH_MIB = 1500
"""Growth of the peak memory in one case above which a reader counts as unbounded."""
SPECIAL_SHARE = 0.08
"""Share of the cases in which something other than a regular file takes the place of a file."""


def prepare(parser: Parser, seeds: Path) -> Path:
    """Return the folder with the valid files of a parser; create it on first use."""
    folder = seeds / parser.name.replace(' ', '_')
    if not folder.exists():
        seeds.mkdir(parents=True, exist_ok=True)
        # Of a worker that is stopped in this step, no half of the files may remain in the folder.
        made = Path(tempfile.mkdtemp(dir=seeds))
        parser.seed(made)
        made.rename(folder)
    return folder


def mutate(parser: Parser, case: int, valid: Path, work: Path) -> str:
    """Write the files of a case to `work`; return what was done, such as 'a.yaml: truncate'.

    Case -n leaves the nth file of the parser as it is: a parser must accept all of them.
    """
    rng = random.Random(f'{parser.name}/{case}')
    shutil.copytree(valid, work)
    name = rng.choice(parser.files) if case >= 0 else parser.files[-case - 1]
    path = work / name
    os.environ['SAGE_FUZZ_FILE'] = name
    if case < 0:
        return f'{name}: nothing'
    if rng.random() < SPECIAL_SHARE:
        change = rng.choice(SPECIAL)
        path.unlink()
        change(path)
        return f'{name}: {change.__name__}'
    mutation = rng.choice(parser.mutations)
    path.write_bytes(mutation(path.read_bytes(), rng))
    return f'{name}: {mutation.__name__}'


def judge(parser: Parser, work: Path) -> dict[str, str]:
    """Read the files of a case and return the result."""
    with contextlib.suppress(Exception):  # the mutation may leave nothing to repair
        parser.after(work)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        parser.read(work)
        result = {'result': 'accepted'}
    except parser.errors as error:
        text = str(error)
        result = {'result': 'rejected', 'reason': text[:300]}
        if '\n' in text.strip() or not text.strip():
            result = {'result': 'unclear', 'reason': text[:1000]}
    except BaseException as error:  # noqa: BLE001 (any other exception is a finding)
        place = traceback.format_exc(limit=-4)
        result = {'result': 'traceback', 'reason': f'{type(error).__name__}: {place}'}
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    if growth_mib > MAX_GROWTH_MIB:
        result = {'result': 'memory', 'reason': f'{growth_mib} MiB, then {result}'[:1000]}
    return result


@contextlib.contextmanager
def captured(log: Path) -> Iterator[None]:
    """Write stdout and stderr, also those of libraries in C, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with log.open('wb') as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, before in enumerate(kept, 1):
                os.dup2(before, number)
                os.close(before)


def main(folder: Path) -> None:
    """Judge the cases of stdin; work in `folder`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    faulthandler.enable()
    parsers = {parser.name: parser for parser in PARSERS}
    seeds, work = folder / 'seeds', folder / 'work'
    os.environ.update(HOME=str(folder), MPLBACKEND='agg', ROS_LOG_DIR=str(folder / 'log'))
    for line in sys.stdin:
        task = json.loads(line)
        parser = parsers[task['parser']]
        shutil.rmtree(work, ignore_errors=True)
        what = mutate(parser, task['case'], prepare(parser, seeds), work)
        with captured(folder / 'output'):
            result = judge(parser, work)
        output = (folder / 'output').read_text(errors='replace')
        if 'Traceback (most recent call last)' in output and result['result'] != 'traceback':
            result = {'result': 'traceback', 'reason': output[-1500:]}
        print(json.dumps({**task, **result, 'what': what}), file=answers)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
