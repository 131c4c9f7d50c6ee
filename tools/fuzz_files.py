# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read thousands of mutated files with every parser of sage; each error must be one clear line.

Workers read the files in processes of their own, so that a crash in C, a hang and unbounded
memory are seen. Cases are numbered and repeatable:

    python tools/fuzz_files.py --cases 12000
    python tools/fuzz_files.py --parser image --case 321     # one case, with its traceback
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil
from fuzz.parsers import PARSERS
from fuzz.results import RESULTS, merge

TIMEOUT_S, START_TIMEOUT_S = 30.0, 180.0
"""CPU time of one case, and of the first one of a worker, after which it hangs, seconds."""
BLOCKED_TIMEOUT_S = 300.0
"""Time after which a case hangs in any event: a reader of a pipe waits without using the CPU."""
POLL_S = 0.5
CASES_PER_WORKER = 2000
"""Cases after which a worker is replaced, which bounds the effects of one case on later ones."""
FINDINGS = {
    'traceback': 'tracebacks',
    'unclear': 'tracebacks',
    'hang': 'hangs',
    'abort': 'aborts',
    'memory': 'aborts',
    'rejects valid': 'rejects_valid',
}
"""The key of the results that counts a kind of finding."""


@dataclass
class Worker:
    """A process of `fuzz/worker.py`, started on demand."""

    COMMAND: ClassVar = (sys.executable, str(Path(__file__).with_name('fuzz') / 'worker.py'))

    folder: Path
    process: subprocess.Popen[str] | None = None
    cases: int = 0
    answers: queue.Queue[str] = field(default_factory=queue.Queue)

    def judge(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return the result of one case; replace the process if it died or hangs."""
        timeout_s = TIMEOUT_S
        if self.process is None or self.cases >= CASES_PER_WORKER:
            self.stop()
            self.start()
            timeout_s = START_TIMEOUT_S
        assert self.process is not None
        assert self.process.stdin is not None
        self.cases += 1
        self.process.stdin.write(json.dumps(task) + '\n')
        self.process.stdin.flush()
        answer = self._answer(timeout_s)
        if answer is None:
            self.stop()
            return {**task, 'result': 'hang', 'reason': f'no answer within {timeout_s:g} s'}
        if answer:
            result = json.loads(answer)
            if task['case'] < 0 and result['result'] == 'rejected':
                result['result'] = 'rejects valid'
            return result
        code = self.process.wait()
        self.stop()
        log = (self.folder / 'log.txt').read_text(errors='replace')
        output = self.folder / 'output'
        log += output.read_text(errors='replace') if output.exists() else ''
        return {**task, 'result': 'abort', 'reason': f'exit code {code}: {log[-1500:]}'}

    def _answer(self, timeout_s: float) -> str | None:
        """Return the next line of the process, '' when it has ended, None if it hangs.

        The limit is in CPU time, so that a loaded machine makes no hang of a slow case.
        """
        assert self.process is not None
        until_cpu_s = _cpu_s(self.process.pid) + timeout_s
        until_s = time.monotonic() + max(BLOCKED_TIMEOUT_S, timeout_s)
        while True:
            try:
                return self.answers.get(timeout=POLL_S)
            except queue.Empty:
                if _cpu_s(self.process.pid) > until_cpu_s or time.monotonic() > until_s:
                    return None

    def start(self) -> None:
        """Start the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [*self.COMMAND, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / 'log.txt').open('w'),
            text=True,
        )
        self.cases, self.answers = 0, queue.Queue()
        threading.Thread(
            target=_forward, args=(self.process.stdout, self.answers), daemon=True
        ).start()

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds, 0 if it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def _forward(stream: Any, answers: queue.Queue[str]) -> None:
    for line in stream:
        answers.put(line)
    answers.put('')


def tasks(cases: int, first: int, only: str) -> Iterator[dict[str, Any]]:
    """Yield the cases of all parsers by their weights, `first` being the number of the first.

    Negative cases are the valid files: a parser that rejects them would pass any test.
    """
    parsers = [parser for parser in PARSERS if only in ('', parser.name)]
    total = sum(parser.weight for parser in parsers)
    for parser in parsers:
        for number in range(len(parser.files)):
            yield {'parser': parser.name, 'case': -number - 1}
        for number in range(max(round(cases * parser.weight / total), 1)):
            yield {'parser': parser.name, 'case': first + number}


def run(cases: int, first: int, only: str, workers: int, folder: Path) -> list[dict[str, Any]]:
    """Return the results of all cases."""
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    mixed = list(tasks(cases, first, only))
    random.Random(first).shuffle(mixed)  # an interrupted run has tried all parsers
    for task in mixed:
        waiting.put(task)
    results: list[dict[str, Any]] = []

    def work(number: int) -> None:
        worker = Worker(folder / str(number))
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                break
            result = worker.judge(task)
            results.append(result)
            if result['result'] in FINDINGS:
                _show(result)
            if len(results) % 500 == 0:
                print(f'{len(results)} files', flush=True)
        worker.stop()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _show(result: dict[str, Any]) -> None:
    name = f'{result["parser"]!r} --case {result["case"]}'
    print(f'-- {result["result"]} of --parser {name}, {result.get("what", "")}')
    print(result['reason'], flush=True)


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts for the results file."""
    counts = Counter(FINDINGS.get(result['result'], 'fine') for result in results)
    results = [result for result in results if result['case'] >= 0]
    by_parser: dict[str, Counter[str]] = {}
    for result in results:
        by_parser.setdefault(result['parser'], Counter())[result['result']] += 1
    return {
        'tried': len(results),
        **{key: counts[key] for key in dict.fromkeys(FINDINGS.values())},
        'parsers': {name: dict(counted) for name, counted in sorted(by_parser.items())},
    }


def main() -> int:
    """Run the cases; return 1 if one of them is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=12_000, help='number of files')
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--parser', default='', help='only this parser')
    parser.add_argument('--case', type=int, help='only this case of --parser')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--out', type=Path, default=RESULTS, help='results file')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='sage_fuzz_') as folder:
        if args.case is not None:
            results = run(1, args.case, args.parser, 1, Path(folder))
            print(json.dumps([each for each in results if each['case'] == args.case], indent=1))
        else:
            results = run(args.cases, args.first, args.parser, args.workers, Path(folder))
            merge('files', summary(results), args.out)
            print(json.dumps(summary(results), indent=1))
    return int(any(result['result'] in FINDINGS for result in results))


if __name__ == '__main__':
    sys.exit(main())
