# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the tutorials, run as they are written, and their output.

A block ```` ```sh {test} ```` is run and must succeed; with `background` or `background=NAME` it
keeps running until `<!-- test: stop -->` or `<!-- test: stop NAME -->`, which is Ctrl-C. A block
with `file=NAME` is written to that file. A block ```` ```text {output} ```` has lines of the
output of the last command, in which … stands for anything; for a command in the background the
test waits for these lines, as a reader would.
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from documents import DOCS, ROOT, blocks

TUTORIALS = sorted(p for p in (DOCS / 'tutorials').glob('*.md') if p.name != 'index.md')
TIMEOUT_S = 120.0


def is_shown(pattern, output):
    """Return whether a line of `output` has the form of a line in a document."""
    words = re.escape(' '.join(pattern.split())).replace('…', '.*').replace(r'\ ', r'\s+')
    return re.search(rf'^\s*{words}\s*$', output, re.MULTILINE) is not None


class Terminal:
    """A command that a reader starts, and its output."""

    def __init__(self, command, folder, environment, number):
        self._file = folder / f'.terminal{number}'
        self.command = command
        with self._file.open('w') as out:
            self.process = subprocess.Popen(
                ['bash', '-eo', 'pipefail', '-c', command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group, as a terminal has, to interrupt it
            )

    @property
    def output(self):
        return self._file.read_text(errors='replace')

    def wait(self):
        """Wait until the command ends; it must succeed."""
        code = self.process.wait(TIMEOUT_S)
        assert code == 0, f'{self.command}\nexit code {code}\n{self.output}'

    def show(self, pattern):
        """Wait until the output has the line `pattern`, or until the command ends."""
        deadline = time.monotonic() + TIMEOUT_S
        while not is_shown(pattern, self.output):
            over = self.process.poll() is not None or time.monotonic() > deadline
            assert not over or is_shown(pattern, self.output), (
                f'{pattern!r} is not in the output of: {self.command}\n{self.output}'
            )
            time.sleep(0.05)

    def interrupt(self):
        """Press Ctrl-C: the command must end without an error."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.wait()

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Reader:
    """Follows a tutorial in a folder."""

    def __init__(self, folder):
        self._folder = folder
        self._environment = {
            **os.environ,
            'HOME': str(folder),
            # On a loaded machine, threads that wait for each other slow training down.
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.getenv('PYTHONPATH')])),
        }
        self._started = []
        self._running = {}
        self._last = None

    def follow(self, path):
        for block in blocks(path):
            if block.language == 'test':
                self._stop(*block.text.split()[1:])
            elif 'file' in block.flags:
                (self._folder / block.flags['file']).write_text(block.text)
            elif 'test' in block.flags:
                self._run(block)
            elif 'output' in block.flags:
                terminal = self._running.get(block.flags['output'], self._last)
                for line in block.text.splitlines():
                    terminal.show(line)
        assert not self._running, 'the tutorial leaves commands running'

    def _run(self, block):
        number = len(self._started)
        self._last = Terminal(block.text, self._folder, self._environment, number)
        self._started.append(self._last)
        if 'background' in block.flags:
            self._running[block.flags['background'] or 'graph'] = self._last
        else:
            self._last.wait()

    def _stop(self, *names):
        for name in names or list(self._running):
            self._running.pop(name).interrupt()

    def close(self):
        for terminal in self._started:
            terminal.kill()


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_works_as_written(path, reader):
    assert any('test' in block.flags for block in blocks(path))
    reader.follow(path)


def test_output_lines_stand_for_the_whole_line():
    output = 'ok       sage_msgs   8 fields\nbag: 30 messages, 2.0 s\n'
    assert is_shown('ok … sage_msgs …', output)
    assert is_shown('bag: … messages, …', output)
    assert not is_shown('bag: … messages', output)
    assert not is_shown('messages, …', output)
    assert not is_shown('bag: 3. messages, …', output)


def test_command_that_fails_fails_the_tutorial(reader, tmp_path):
    page = Path(tmp_path, 'page.md')
    page.write_text('```sh {test}\nsage models no_such_model\n```\n')
    with pytest.raises(AssertionError, match='exit code 2'):
        reader.follow(page)


def test_output_that_is_not_printed_fails_the_tutorial(reader, tmp_path):
    page = Path(tmp_path, 'page.md')
    page.write_text('```sh {test}\nsage --version\n```\n\n```text {output}\nsage 9.9\n```\n')
    with pytest.raises(AssertionError, match=r'sage 9\.9'):
        reader.follow(page)
