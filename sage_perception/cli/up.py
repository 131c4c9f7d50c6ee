# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage up`: run a node graph as processes, without `ros2 launch`."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sage_perception.bringup.command import command
from sage_perception.bringup.environment import config_path
from sage_perception.bringup.graph import (
    NodeSpec,
)
from sage_perception.bringup.processes import GraphRunner
from sage_perception.bringup.respawn import describe_exit
from sage_perception.cli.graph_arguments import GRAPHS, add_graph_arguments, graph_of, shown
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    Parser,
    examples,
    positive,
    report_errors,
    stop_requested,
)
from sage_perception.core.yaml_file import read_mapping

QUIET_EXITS = (-signal.SIGINT, -signal.SIGTERM)
"""Exit codes of nodes that a stop request ended before they handled signals."""

_COLORS = ('cyan', 'green', 'magenta', 'blue', 'yellow', 'bright_cyan', 'bright_magenta')
_LEVEL_STYLES = {'WARN': 'yellow', 'ERROR': 'red', 'FATAL': 'bold red'}


@report_errors('sage up')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage up`; return 0 after a stop request, 1 if a node failed, 2 for bad usage."""
    options = parser().parse_args(argv)
    specs = graph_of(options)
    params_file = _params_file(options)
    if options.dry_run:
        for spec in specs:
            print(shlex.join(command(spec, [params_file], options.log_level)))
            for node in spec.nodes or (spec,):
                indent = '    '
                if spec.nodes:
                    print(f'    {node.path}')
                    indent = '        '
                for name, value in node.parameters.items():
                    print(f'{indent}{name}: {shown(value)!r}')
        return 0
    return _run(options, specs, params_file)


def parser() -> Parser:
    """Return the parser of `sage up`."""
    parser = Parser(
        prog='sage up',
        description='Start a node graph as processes, restart nodes that exit, and show a table '
        'of their states. Ctrl-C stops the graph.',
        epilog=examples(
            'sage up single_camera --source v4l2:///dev/video0',
            'sage up dual_camera --source0 v4l2:///dev/video0 --source1 v4l2:///dev/video2',
            'sage up single_camera --image0 /camera/color/image_raw --memory',
            'sage up dual_camera --positions --pose0 "0 0.1 0 0 0 0" --pose1 "0 -0.1 0 0 0 0"',
            'sage up dual_camera --composed',
            'sage up dual_camera --foxglove',
            'sage up fleet --robots robot1 robot2 --set attention.max_crops=4',
        ),
        allow_abbrev=False,
    )
    add_graph_arguments(parser)
    add = parser.add_argument_group('execution').add_argument
    add('--params-file', metavar='FILE', help='parameter file (default: the file of the graph)')
    add(
        '--log-level',
        choices=('debug', 'info', 'warn', 'error', 'fatal'),
        default='info',
        help='minimum severity of log messages (default: info)',
    )
    add('--duration', metavar='SECONDS', type=positive, help='stop after this time')
    add('--plain', action='store_true', help='print log lines without the table of nodes')
    add('--dry-run', action='store_true', help='print the commands of the nodes and exit')
    return parser


def _params_file(options: argparse.Namespace) -> Path:
    """Return the path of the parameter file, after a check of its content."""
    if options.params_file is None:
        return config_path(GRAPHS[options.graph].params_file)
    path = Path(options.params_file)
    try:
        nodes = read_mapping(path).values()
    except OSError as error:
        raise ValueError(f'--params-file {path}: {error.strerror}') from None
    except ValueError as error:
        raise ValueError(f'--params-file {error}') from None
    if not all(isinstance(node, dict) and 'ros__parameters' in node for node in nodes):
        raise ValueError(f'--params-file {path}: each node name must contain ros__parameters')
    return path.resolve()


def _run(options: argparse.Namespace, specs: list[NodeSpec], params_file: Path) -> int:
    """Run the graph until a stop request, the end of the duration or a failure."""
    console = Console(highlight=False, soft_wrap=True)
    show = _printer(console, specs)
    runner = GraphRunner(specs, params_file=params_file, log_level=options.log_level, on_line=show)
    count = sum(len(spec.nodes) or 1 for spec in specs)
    processes = (
        f' in {len(specs)} process{"es" if len(specs) > 1 else ""}' if count > len(specs) else ''
    )
    show('', f'{options.graph}: {count} nodes{processes}, parameters from {params_file}')
    table = not options.plain and console.is_terminal
    end = time.monotonic() + (options.duration or float('inf'))
    with stop_requested() as stop, _status(console, runner) if table else nullcontext():
        runner.start()
        try:
            while not stop.is_set() and time.monotonic() < end and not runner.wait(0.1):
                pass
        finally:
            exit_codes = runner.stop()
    if runner.failure is not None:
        print(f'sage up: {runner.failure}', file=sys.stderr)
        return EXIT_FAILED
    for path, code in exit_codes.items():
        if code and code not in QUIET_EXITS:
            show('', f'{path} ended with {describe_exit(code)}')
    return 0


def _printer(console: Console, specs: list[NodeSpec]) -> Callable[[str, str], None]:
    """Return a function that prints a line of a node, with the name of the node before it."""
    width = max(len(spec.path) for spec in specs)
    colors = {spec.path: _COLORS[i % len(_COLORS)] for i, spec in enumerate(specs)}

    def show(node: str, line: str) -> None:
        level = re.search('|'.join(rf'\[{name}\]' for name in _LEVEL_STYLES), line)
        style = _LEVEL_STYLES[level.group()[1:-1]] if level else ''
        name = Text(f'[{node or "sage"}]'.ljust(width + 2), style=colors.get(node, 'bold'))
        console.print(Text.assemble(name, ' ', (line, style)))

    return show


def _status(console: Console, runner: GraphRunner) -> Live:
    """Return the live table of the nodes below the log lines."""
    usage = _Usage()

    def table() -> Table:
        rows = Table('node', 'state', 'pid', 'restarts', 'CPU %', 'MiB', 'last log', box=None)
        for path, node in runner.processes.items():
            pid = node.pid
            last = Text(node.log_level, style=_LEVEL_STYLES.get(node.log_level, ''))
            texts = usage.of(pid) if pid else ('', '')
            rows.add_row(path, node.state, str(pid or ''), str(node.restarts), *texts, last)
        return rows

    return Live(get_renderable=table, console=console, refresh_per_second=1, transient=True)


class _Usage:
    """CPU (% of a core) and memory (MiB) of processes as text, measured once a second."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._measured: dict[int, tuple[float, tuple[str, str]]] = {}

    def of(self, pid: int) -> tuple[str, str]:
        """Return the usage of a process; empty texts if it has exited."""
        now = time.monotonic()
        at, texts = self._measured.get(pid, (0.0, ('', '')))
        if now - at < 1.0:
            return texts
        try:
            process = self._processes.setdefault(pid, psutil.Process(pid))
            memory_mib = process.memory_info().rss / 2**20
            texts = f'{process.cpu_percent():.0f}', f'{memory_mib:.0f}'
        except psutil.NoSuchProcess:
            texts = '', ''
        self._measured[pid] = now, texts
        return texts
