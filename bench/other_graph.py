# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the two-camera graph of another checkout, for `bench/throughput.py --before`.

`PYTHONPATH=CHECKOUT python other_graph.py SOURCE0 SOURCE1` prints the process ids of the nodes as
one line of JSON, again after a restart, and runs until its standard input is closed.
"""

import importlib
import json
import sys
import threading
import time

# The modules of the graph, the parameter files and the runner, in newer and older checkouts.
LAYOUTS = (
    (
        'sage_perception.bringup.graph',
        'sage_perception.bringup.environment',
        'sage_perception.bringup.processes',
    ),
    ('sage_perception.graph', 'sage_perception.runtime', 'sage_perception.supervisor'),
)


def modules():
    """Return the modules of the first layout that the checkout has."""
    for names in LAYOUTS:
        try:
            return [importlib.import_module(name) for name in names]
        except ModuleNotFoundError as error:
            missing = error
    raise missing


def main() -> None:
    """Run the graph."""
    graph, environment, processes = modules()
    cameras = [graph.Camera(f'cam{n}', source=source) for n, source in enumerate(sys.argv[1:])]
    runner = processes.GraphRunner(
        graph.dual_camera(cameras),
        params_file=environment.config_path('dual_camera.yaml'),
        on_line=lambda node, line: print(node, line, file=sys.stderr),
    )
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    with runner:
        shown = None
        while not stop.is_set() and runner.failure is None:
            pids = {path: node.pid for path, node in runner.processes.items()}
            if None not in pids.values() and pids != shown:
                shown = pids
                print(json.dumps(pids), flush=True)
            time.sleep(0.1)
    if runner.failure is not None:
        sys.exit(f'{runner.failure}')


if __name__ == '__main__':
    main()
