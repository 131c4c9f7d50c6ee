# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage up`: run a node graph as processes, without `ros2 launch`."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sage_perception.bringup.command import command
from sage_perception.bringup.composition import MODES, compose
from sage_perception.bringup.environment import config_path
from sage_perception.bringup.foxglove import PORT, foxglove_bridge
from sage_perception.bringup.graph import (
    Camera,
    NodeSpec,
    dual_camera,
    fleet,
    single_camera,
)
from sage_perception.bringup.processes import GraphRunner
from sage_perception.bringup.respawn import describe_exit
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    Parser,
    examples,
    port,
    positive,
    report_errors,
    stop_requested,
)
from sage_perception.core.redact import without_secrets
from sage_perception.core.text import did_you_mean
from sage_perception.core.yaml_file import parse_yaml, read_mapping


class Graph(NamedTuple):
    """A graph by name: cameras per robot, default parameter file and default composition."""

    cameras: int
    params_file: str
    composition: str = 'none'


GRAPHS = {
    'single_camera': Graph(1, 'single_camera.yaml'),
    'dual_camera': Graph(2, 'dual_camera.yaml'),
    'jetson_dual_csi': Graph(2, 'jetson_dual_csi.yaml', 'graph'),
    'fleet': Graph(2, 'dual_camera.yaml'),
}

QUIET_EXITS = (-signal.SIGINT, -signal.SIGTERM)
"""Exit codes of nodes that a stop request ended before they handled signals."""

_COLORS = ('cyan', 'green', 'magenta', 'blue', 'yellow', 'bright_cyan', 'bright_magenta')
_LEVEL_STYLES = {'WARN': 'yellow', 'ERROR': 'red', 'FATAL': 'bold red'}
_EXPONENT = re.compile(r'[-+]?\d+[eE][-+]?\d+')


@report_errors('sage up')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage up`; return 0 after a stop request, 1 if a node failed, 2 for bad usage."""
    options = parser().parse_args(argv)
    specs = _build(options)
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
                    print(f'{indent}{name}: {_shown(value)!r}')
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
            'sage up dual_camera --composed',
            'sage up dual_camera --foxglove',
            'sage up fleet --robots robot1 robot2 --set attention.max_crops=4',
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add('graph', metavar='GRAPH', choices=GRAPHS, help=', '.join(GRAPHS))
    add = parser.add_argument_group('cameras').add_argument
    add('--source', metavar='URI', help='source of the camera of single_camera')
    for n in (0, 1):
        add(f'--source{n}', metavar='URI', help=f'source of camera {n}, such as csi://{n}')
        add(
            f'--image{n}',
            metavar='TOPIC',
            help=f'image topic of an external driver, which replaces the node of camera {n}',
        )
        add(f'--camera{n}', metavar='NAME', help=f'name of camera {n} (default: cam{n})')
    add = parser.add_argument_group('nodes').add_argument
    add(
        '--robots',
        metavar='NAME',
        nargs='+',
        help='robots of a fleet (default: robot1 robot2)',
    )
    add('--namespace', metavar='NS', default='', help='namespace of all nodes')
    add('--memory', action='store_true', help='add a memory node')
    add('--compressor', action='store_true', help='add a compressor node')
    add('--no-viewer', action='store_true', help='omit the viewer node')
    add(
        '--foxglove',
        metavar='PORT',
        nargs='?',
        type=port,
        const=PORT,
        help=f'add foxglove_bridge, to which Foxglove connects (default port: {PORT})',
    )
    add = parser.add_argument_group('parameters').add_argument
    add('--params-file', metavar='FILE', help='parameter file (default: the file of the graph)')
    add('--device', metavar='D', help='device of the encoders: auto, cpu or cuda')
    add('--use-sim-time', action='store_true', default=None, help='use /clock')
    add(
        '--set',
        metavar='NODE.PARAMETER=VALUE',
        action='append',
        default=[],
        help='set a parameter of one node (cam0/attention.max_crops=4) or of all nodes of a name '
        '(attention.max_crops=4); can be repeated',
    )
    add(
        '--log-level',
        choices=('debug', 'info', 'warn', 'error', 'fatal'),
        default='info',
        help='minimum severity of log messages (default: info)',
    )
    add = parser.add_argument_group('execution').add_argument
    add(
        '--composed',
        metavar='MODE',
        nargs='?',
        const='graph',
        choices=MODES,
        help='run the nodes of the whole graph (MODE graph, the default) or of each camera (MODE '
        'camera) in one process; none: each node in its own process. Default without the option: '
        'graph for jetson_dual_csi, none for the other graphs',
    )
    add('--no-respawn', action='store_true', help='stop when a node exits')
    add('--duration', metavar='SECONDS', type=positive, help='stop after this time')
    add('--plain', action='store_true', help='print log lines without the table of nodes')
    add('--dry-run', action='store_true', help='print the commands of the nodes and exit')
    return parser


def _build(options: argparse.Namespace) -> list[NodeSpec]:
    """Return the nodes of the graph that the arguments describe."""
    count = GRAPHS[options.graph].cameras
    for name in ('source1', 'image1', 'camera1'):
        if count < 2 and getattr(options, name) is not None:
            raise ValueError(f'--{name}: {options.graph} has one camera; use --{name[:-1]}0')
    if options.source is not None:
        if count > 1:
            raise ValueError(
                f'--source: {options.graph} has two cameras; use --source0 and --source1'
            )
        if options.source0 is not None:
            raise ValueError('--source and --source0 are the same option; give only one')
        options.source0 = options.source
    if options.robots and options.graph != 'fleet':
        raise ValueError(f'--robots: {options.graph} has one robot; use the graph fleet')
    cameras = [
        Camera(
            getattr(options, f'camera{n}') or f'cam{n}',
            getattr(options, f'source{n}'),
            getattr(options, f'image{n}'),
        )
        for n in range(count)
    ]
    given = {
        'namespace': options.namespace,
        'device': options.device,
        'use_sim_time': options.use_sim_time,
        'viewer': not options.no_viewer,
        'memory': options.memory,
        'compressor': options.compressor,
        'respawn': not options.no_respawn,
    }
    if options.graph == 'fleet':
        specs = fleet(options.robots or ['robot1', 'robot2'], cameras, **given)
    else:
        specs = (single_camera if count == 1 else dual_camera)(cameras, **given)
    for assignment in options.set:
        specs = _assign(specs, assignment)
    processes = compose(specs, options.composed or GRAPHS[options.graph].composition)
    if options.foxglove is not None:
        bridge = {'namespace': options.namespace, 'use_sim_time': options.use_sim_time}
        processes.append(foxglove_bridge('--foxglove', options.foxglove, **bridge))
    return processes


def _assign(specs: list[NodeSpec], assignment: str) -> list[NodeSpec]:
    """Return the nodes with the parameter that an argument of `--set` assigns."""
    target, equals, text = assignment.partition('=')
    node, _, parameter = target.partition('.')
    shown = f'--set {target}{equals}{_shown(text)}'
    if not equals or not parameter:
        raise ValueError(f'{shown}: use the form NODE.PARAMETER=VALUE')
    chosen = [spec for spec in specs if f'/{spec.path}'.endswith(f'/{node.strip("/")}')]
    if not chosen:
        paths = [spec.path for spec in specs]
        hint = did_you_mean(node, {*paths, *(spec.name for spec in specs)})
        hint = hint or f'; the graph has {", ".join(paths)}'
        raise ValueError(f'{shown}: unknown node {node!r}{hint}')
    for spec in chosen:
        names = _parameter_names(spec)
        if names and parameter not in names and not parameter.startswith('qos_overrides.'):
            hint = did_you_mean(parameter, names) or f'; it has {", ".join(sorted(names))}'
            raise ValueError(f'{shown}: {spec.name} has no parameter {parameter!r}{hint}')
    try:
        value = _value(text)
    except ValueError as error:
        raise ValueError(f'{shown}: {error}') from None
    return [
        replace(spec, parameters={**spec.parameters, parameter: value}) if spec in chosen else spec
        for spec in specs
    ]


def _parameter_names(spec: NodeSpec) -> set[str]:
    """Return the parameters of a node; empty if its module cannot be imported here.

    The import takes a second, which only the users of `--set` wait for.
    """
    try:
        module = importlib.import_module(f'{spec.package}.nodes.{spec.executable}')
    except ImportError:
        return set()
    node = getattr(module, f'{spec.executable.title().replace("_", "")}')
    return {parameter.name for parameter in node.PARAMETERS} | {'use_sim_time'}


def _shown(value: object) -> object:
    """Return a parameter value for display, without the credentials of a URL."""
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return without_secrets(value) if isinstance(value, str) and '://' in value else value


def _value(text: str) -> object:
    """Return a parameter value parsed as ROS does: YAML, but 1e-3 is a number (not in PyYAML).

    Raises `ValueError` if the value has a type that parameters cannot have.
    """
    try:
        value = parse_yaml(text, 'value') if text else ''
    except ValueError:
        value = None
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (bool, int, float, str)) for item in items):
        raise ValueError('the value must be a number, a string, true, false or a list')
    return value


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
