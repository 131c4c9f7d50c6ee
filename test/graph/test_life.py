# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loss and return of a camera, and shutdown of a graph."""

import fcntl
import os
import re
import signal
from pathlib import Path

import cv2
import pytest
from sage_msgs.msg import LCTArray
from sensor_msgs.msg import Image

from sage_perception.bringup.graph import Camera, single_camera
from sage_perception.vision.synthetic import SyntheticWorld

OK, WARN, ERROR = b'\0', b'\1', b'\2'


@pytest.fixture
def video(tmp_path):
    """Return a video file of moving shapes."""
    path = tmp_path / 'video.avi'
    world = SyntheticWorld(seed=1, width=320, height=240)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 15, (320, 240))
    for number in range(60):
        writer.write(world.render(number / 15, number))
    writer.release()
    return path


def test_lost_camera_is_reported_and_reconnected(run_graph, video, tmp_path):
    graph = run_graph(
        single_camera([Camera('cam0', f'file://{video}')], namespace='film', viewer=False)
    )
    lcts = graph.collect(LCTArray, 'film/cam0/lcts')
    fused = graph.collect(LCTArray, 'film/fused')
    graph.health()
    part = 'film/cam0/camera: capture'

    def wait_for_latents():
        lcts.clear()
        fused.clear()
        graph.wait_for(lambda: any(a.lcts for a in list(lcts)), 'latents')
        graph.wait_for(lambda: any(a.lcts for a in list(fused)), 'fused latents')

    def level(wanted):
        status = graph.health(-6).get(part)
        return status and status.level == wanted and status

    wait_for_latents()
    graph.wait_for(lambda: level(OK), 'status OK')
    before = {path: graph.pid(path) for path in graph.runner.processes}

    hidden = video.rename(tmp_path / 'hidden.avi')
    status = graph.wait_for(lambda: level(ERROR), 'the loss in the diagnostics')
    assert status.message.startswith('no camera: ')
    assert str(video) in status.message
    assert f'no camera: {video} no longer exists' in graph.written('film/cam0/camera')

    def input_warning():
        status = graph.health(-6).get('film/cam0/attention: input image_raw')
        return status and status.level == WARN and status

    status = graph.wait_for(input_warning, 'the missing input in the diagnostics')
    assert status.message.startswith('no messages on /film/cam0/image_raw for ')
    assert ': 1 publisher' in status.message

    hidden.rename(video)
    graph.wait_for(lambda: level(OK), 'status OK')
    wait_for_latents()
    assert {path: graph.pid(path) for path in before} == before, 'no node was restarted'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_nodes_exit_cleanly_on_a_signal(run_graph, number):
    source = 'synthetic://?seed=1&width=320&height=240&fps=15'
    name = number.name.lower()
    graph = run_graph(
        single_camera([Camera('cam0', source)], namespace=name, respawn=False), may_end=True
    )
    fused = graph.collect(LCTArray, f'{name}/fused')
    mosaics = graph.collect(Image, f'{name}/mosaic', last=1)
    graph.wait_for(
        lambda: any(a.lcts for a in list(fused)) and mosaics, 'fused latents and a mosaic'
    )
    pids = [graph.pid(path) for path in graph.runner.processes]
    segments = segments_of(pids)
    assert len(segments) >= len(pids)
    for pid in pids:
        os.kill(pid, number)
    processes = graph.runner.processes.values()
    graph.ros.wait_for(
        lambda: all(process.state == 'dead' for process in processes), 'the exit of all nodes'
    )
    assert {process.spec.path: process.exit_code for process in processes} == dict.fromkeys(
        graph.runner.processes, 0
    )
    assert 'Traceback' not in graph.written()
    assert 'error' not in graph.written().lower()
    assert not [s for s in segments if is_stale(s)], 'each run would leave 64 MiB in /dev/shm'


def segments_of(pids):
    """Return the shared memory segments that processes have mapped."""
    maps = ''.join(Path(f'/proc/{pid}/maps').read_text() for pid in pids)
    return {Path(name) for name in re.findall(r'/dev/shm/fast\w+_[0-9a-f]{16}', maps)}


def is_stale(segment):
    """Return whether a segment has no owner; an owner holds the lock of a file beside it."""
    if not segment.exists():
        return False
    with open(f'{segment}_el') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
