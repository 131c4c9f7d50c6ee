# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage up`: run a node graph as processes, where `ros2 launch` is not installed."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import psutil
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sage_perception.bringup.environment import config_path, describe_exit
from sage_perception.bringup.graph import Camera, NodeSpec, dual_camera, fleet, single_camera
from sage_perception.bringup.processes import GraphRunner, command
from sage_perception.cli.terminal import EXIT_FAILED, Parser, in_one_line, stop_requested

# Graph: what describes it, how many cameras a robot has, its parameter file.
GRAPHS = {
    'single_camera': (single_camera, 1, 'single_camera.yaml'),
    'dual_camera': (dual_camera, 2, 'dual_camera.yaml'),
    'jetson_dual_csi': (dual_camera, 2, 'jetson_dual_csi.yaml'),
    'fleet': (fleet, 2, 'dual_camera.yaml'),
}

_COLORS = ('cyan', 'green', 'magenta', 'blue', 'yellow', 'bright_cyan', 'bright_magenta')
_LEVEL_STYLES = {'WARN': 'yellow', 'ERROR': 'red', 'FATAL': 'bold red'}
_EXPONENT = re.compile(r'[-+]?\d+[eE][-+]?\d+')


@in_one_line('sage up')
def main(argv: list[str] | None = None) -> int:
    """Run `sage up`; return 0 when told to end, 1: a node is dead for good, 2: bad usage."""
    options = _parser().parse_args(argv)
    specs = _build(options)
    params_file = _params_file(options)
    if options.dry_run:
        for spec in specs:
            print(shlex.join(command(spec, [params_file], options.log_level)))
            for name, value in spec.parameters.items():
                print(f'    {name}: {value!r}')
        return 0
    return _run(options, specs, params_file)


def _parser() -> Parser:
    parser = Parser(prog='sage up', description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add('graph', metavar='GRAPH', choices=GRAPHS, help=', '.join(GRAPHS))
    for n in (0, 1):
        add(f'--source{n}', metavar='URI', help=f'what camera {n} opens, such as csi://{n}')
        add(f'--image{n}', metavar='TOPIC', help=f'a running driver’s topic instead of camera {n}')
        add(f'--camera{n}', metavar='NAME', help=f'name of camera {n} (cam{n})')
    add('--robots', metavar='NAME', nargs='+', help='the robots of a fleet: robot1 robot2')
    add('--namespace', metavar='NS', default='', help='namespace of the whole graph')
    add('--params-file', metavar='FILE', help='parameter file of the nodes')
    add('--device', metavar='D', help='device of the encoder: auto, cpu, cuda')
    add(
        '--set',
        metavar='NODE.PARAMETER=VALUE',
        action='append',
        default=[],
        help='a parameter of one node (cam0/attention.max_crops=4) or of all with its name '
        '(attention.max_crops=4); may be repeated',
    )
    add('--log-level', choices=('debug', 'info', 'warn', 'error', 'fatal'), default='info')
    add('--use-sim-time', action='store_true', default=None, help='run on /clock')
    add('--no-viewer', action='store_true', help='leave the viewer node out')
    add('--memory', action='store_true', help='remember and recall: with the memory node')
    add('--compressor', action='store_true', help='contexts and their codes: with its node')
    add('--no-respawn', action='store_true', help='end when a node dies, do not start it again')
    add('--duration', metavar='SECONDS', type=float, help='end after this long')
    add('--plain', action='store_true', help='log lines only, no status table')
    add('--dry-run', action='store_true', help='print the commands of the nodes and end')
    return parser


def _build(options: argparse.Namespace) -> list[NodeSpec]:
    describe, count, _ = GRAPHS[options.graph]
    for name in ('source1', 'image1', 'camera1'):
        if count < 2 and getattr(options, name) is not None:
            raise ValueError(f'--{name}: {options.graph} has one camera, use --{name[:-1]}0')
    more = {}
    if describe is fleet:
        more['robots'] = options.robots or ['robot1', 'robot2']
    elif options.robots:
        raise ValueError(f'--robots: {options.graph} is one robot, use fleet')
    if options.duration is not None and not options.duration > 0:
        raise ValueError(f'--duration: {options.duration:g} s is not positive')
    specs = describe(
        cameras=[
            Camera(
                getattr(options, f'camera{n}') or f'cam{n}',
                getattr(options, f'source{n}'),
                getattr(options, f'image{n}'),
            )
            for n in range(count)
        ],
        namespace=options.namespace,
        device=options.device,
        use_sim_time=options.use_sim_time,
        viewer=not options.no_viewer,
        memory=options.memory,
        compressor=options.compressor,
        respawn=not options.no_respawn,
        **more,
    )
    for assignment in options.set:
        specs = _assign(specs, assignment)
    return specs


def _assign(specs: list[NodeSpec], assignment: str) -> list[NodeSpec]:
    target, equals, text = assignment.partition('=')
    node, _, parameter = target.partition('.')
    if not equals or not parameter:
        raise ValueError(f'--set {assignment}: write NODE.PARAMETER=VALUE')
    chosen = [spec for spec in specs if f'/{spec.path}'.endswith(f'/{node.strip("/")}')]
    if not chosen:
        paths = ', '.join(spec.path for spec in specs)
        raise ValueError(f'--set {assignment}: no node {node!r} in the graph, only {paths}')
    value = _value(assignment, text)
    return [
        replace(spec, parameters={**spec.parameters, parameter: value}) if spec in chosen else spec
        for spec in specs
    ]


def _value(assignment: str, text: str) -> object:
    """Read a parameter's value as ROS does: YAML, where 1e-3 is a number (not so in PyYAML)."""
    try:
        value = yaml.safe_load(text) if text else ''
    except yaml.YAMLError:
        value = None
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (bool, int, float, str)) for item in items):
        raise ValueError(f'--set {assignment}: not a number, a string, true, false, or a list')
    return value


def _params_file(options: argparse.Namespace) -> Path:
    if options.params_file is None:
        return config_path(GRAPHS[options.graph][2])
    path = Path(options.params_file)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise ValueError(f'--params-file {path}: {reason}') from None
    except yaml.YAMLError as error:
        raise ValueError(f'--params-file {path}: {" ".join(str(error).split())}') from None
    nodes = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(node, dict) and 'ros__parameters' in node for node in nodes):
        raise ValueError(f'--params-file {path}: want node names with ros__parameters below')
    return path.resolve()


def _run(options: argparse.Namespace, specs: list[NodeSpec], params_file: Path) -> int:
    console = Console(highlight=False, soft_wrap=True)
    show = _printer(console, specs)
    runner = GraphRunner(specs, params_file=params_file, log_level=options.log_level, on_line=show)
    show('', f'{options.graph}: {len(specs)} nodes, parameters from {params_file}')
    table = not options.plain and console.is_terminal
    end = time.monotonic() + (options.duration or float('inf'))
    with stop_requested() as told, _status(console, runner) if table else nullcontext():
        runner.start()
        try:
            while not told.is_set() and time.monotonic() < end and not runner.wait(0.1):
                pass
        finally:
            exit_codes = runner.stop()
    for path, code in exit_codes.items():
        if code:
            show('', f'{path} ended with {describe_exit(code)}')
    if runner.failure is not None:
        print(f'sage up: stopped: {runner.failure}', file=sys.stderr)
        return EXIT_FAILED
    return 0


def _printer(console: Console, specs: list[NodeSpec]):
    """Return what writes one line of a node behind the node's name."""
    width = max(len(spec.path) for spec in specs)
    colors = {spec.path: _COLORS[i % len(_COLORS)] for i, spec in enumerate(specs)}

    def show(node: str, line: str) -> None:
        level = re.search('|'.join(rf'\[{name}\]' for name in _LEVEL_STYLES), line)
        style = _LEVEL_STYLES[level.group()[1:-1]] if level else ''
        name = Text(f'[{node or "sage"}]'.ljust(width + 2), style=colors.get(node, 'bold'))
        console.print(Text.assemble(name, ' ', (line, style)))

    return show


def _status(console: Console, runner: GraphRunner) -> Live:
    """Return the table that stays below the log lines."""
    loads = _Loads()

    def table() -> Table:
        rows = Table('node', 'state', 'pid', 'restarts', 'CPU %', 'MiB', 'last log', box=None)
        for path, node in runner.processes.items():
            pid = node.pid
            last = Text(node.log_level, style=_LEVEL_STYLES.get(node.log_level, ''))
            load = loads.of(pid) if pid else ('', '')
            rows.add_row(path, node.state, str(pid or ''), str(node.restarts), *load, last)
        return rows

    return Live(get_renderable=table, console=console, refresh_per_second=1, transient=True)


class _Loads:
    """What processes use, as texts: CPU in % of a core and memory in MiB, measured each second."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._measured: dict[int, tuple[float, tuple[str, str]]] = {}

    def of(self, pid: int) -> tuple[str, str]:
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
