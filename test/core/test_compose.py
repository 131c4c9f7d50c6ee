# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Grouping the nodes of a graph into processes, and running composed processes."""

import json
import os
import signal
import stat
from pathlib import Path

import pytest
import yaml
from stubs import spec, wait_for

from sage_perception.bringup.command import command, write_nodes
from sage_perception.bringup.composition import compose, describe_crash
from sage_perception.bringup.graph import NodeSpec, dual_camera, fleet, single_camera
from sage_perception.bringup.processes import GraphRunner


def paths(processes):
    return {p.path: [node.path for node in p.nodes] for p in processes}


def test_the_nodes_of_a_graph_share_one_process():
    specs = dual_camera(namespace='robot1', memory=True)
    [container] = compose(specs, 'graph')
    assert container.path == 'robot1/container'
    assert container.nodes == tuple(specs)


def test_the_nodes_of_a_camera_share_one_process():
    specs = dual_camera()
    assert paths(compose(specs, 'camera')) == {
        'cam0/container': ['cam0/camera', 'cam0/attention', 'cam0/encoder'],
        'cam1/container': ['cam1/camera', 'cam1/attention', 'cam1/encoder'],
        'arbiter': [],
        'viewer': [],
    }


def test_each_robot_of_a_fleet_has_its_own_process():
    processes = paths(compose(fleet(['r1', 'r2']), 'graph'))
    assert list(processes) == ['r1/container', 'r2/container']
    assert {'r2/cam0/camera', 'r2/arbiter'} <= set(processes['r2/container'])


def test_without_composition_the_nodes_are_unchanged():
    specs = single_camera()
    assert compose(specs, 'none') == specs
    with pytest.raises(ValueError, match="'all' is not one of none, camera, graph"):
        compose(specs, 'all')


def test_respawn_options_are_those_of_the_nodes():
    [container] = compose(single_camera(respawn=False, respawn_delay_s=2.0), 'graph')
    assert (container.respawn, container.respawn_delay_s) == (False, 2.0)


def test_nodes_get_the_same_arguments_as_in_processes_of_their_own(tmp_path):
    specs = dual_camera(namespace='robot1')
    [container] = compose(specs, 'graph')
    path = write_nodes(container, ['/user.yaml'], tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, 'a source may contain a password'
    for node, entry in zip(specs, json.loads(path.read_text()), strict=True):
        alone = command(node, ['/user.yaml'], 'info')
        own = alone[alone.index('--ros-args') + 1 : alone.index('--enclave')]
        words = entry['arguments']
        assert words[: len(own)] == own
        files = [Path(name) for name in words[len(own) + 1 :: 2]]
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
        given = [yaml.safe_load(file.read_text()) for file in files]
        expected = {f'/{node.path}': {'ros__parameters': dict(node.parameters)}}
        assert given == ([expected] if node.parameters else [])


CRASHING = """
    import faulthandler, os, signal, sys, threading, time
    nodes = sys.argv[sys.argv.index('--nodes') + 1]
    marker = nodes + '.started'
    if not os.path.exists(marker):
        open(marker, 'w').close()
        file = open(nodes + '.crash', 'w')
        faulthandler.enable(file)
        file.write(f'thread 0x{threading.get_ident():016x} cam0/attention\\n')
        file.flush()
        os.kill(os.getpid(), signal.SIGABRT)
    print('ready')
    time.sleep(60)
"""


def test_the_runner_names_the_node_that_crashed_and_restarts_the_process(write_node):
    write_node('container_node', CRASHING)
    nodes = (spec('attention', namespace='cam0'),)
    container = NodeSpec('stub', 'container_node', 'container', respawn_delay_s=0.05, nodes=nodes)
    lines = []
    with GraphRunner([container], on_line=lambda node, line: lines.append(line)) as runner:
        wait_for(lambda: 'ready' in lines)
        assert runner.processes['container'].restarts == 1
    assert 'container: Aborted in cam0/attention' in lines
    assert f'container died (killed by signal {signal.SIGABRT}), restarting in 0.05 s' in lines


def test_a_killed_process_has_no_crash_to_report(tmp_path):
    nodes = tmp_path / 'container.json'
    assert describe_crash(nodes) == ''
    (tmp_path / 'container.json.crash').write_text('thread 0x0000000000000001 cam0/camera\n')
    assert describe_crash(nodes) == ''
    assert os.listdir(tmp_path) == []
