# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage watch` and `sage replay --clock` on a running graph of real nodes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import rclpy
from golden import raw_bag
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from sage_perception.regression.regress import regress

TIMELINE = """\
version: 1
expectations:
  - attended: {camera: cam0, region: [0, 0, 320, 240], start: 1.5, end: 3.0, share: 0.8}
  - fault: {camera: cam0, kind: covered, at: 2.2, within: 0.45}
  - trust: {camera: cam0, above: 0.2, start: 1.0, end: 2.0}
  - not_rejected: {camera: cam0, start: 0.5, end: 3.0}
  - rate: {stream: cam0/crops, at_least: 6.0, at_most: 11.0, start: 0.5, end: 3.0}
  - latency: {stream: cam0/crops, below: 0.7, start: 0.5, end: 3.0}
"""


@pytest.fixture(scope='session')
def bag(tmp_path_factory):
    """The first seconds of the bag `faults` with raw images, and its timeline."""
    path = raw_bag('faults', tmp_path_factory.mktemp('watch') / 'faults', seconds=4.2)
    # The camera is covered from 2.0 s: no object is attended from then on.
    text = TIMELINE.replace('start: 1.5, end: 3.0, share', 'start: 1.0, end: 2.0, share')
    path.with_name('faults.timeline.yaml').write_text(text)
    return path


@pytest.fixture
def graph():
    """Start attention, encoder and arbiter of one camera as processes, with the bag's clock."""
    started = []

    def start(image_topic='/cam0/image_raw'):
        for kind, namespace, extra in (
            ('attention', '/cam0', ['-r', f'image_raw:={image_topic}']),
            ('encoder', '/cam0', []),
            ('arbiter', '/', ['-p', "cameras:=['cam0']"]),
        ):
            command = [sys.executable, '-m', f'sage_perception.nodes.{kind}_node', '--ros-args']
            command += ['-r', f'__ns:={namespace}', '-p', 'use_sim_time:=true', *extra]
            started.append(subprocess.Popen(command))

    with contextlib.ExitStack() as stack:

        @stack.callback
        def stop():
            for process in started:
                process.send_signal(signal.SIGINT)
            for process in started:
                process.wait(20)

        yield start


def sage(*words):
    command = [sys.executable, '-m', 'sage_perception.cli.main', *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def watched(bag):
    """Return the exit code of `sage watch` while the bag is replayed, and its verdicts."""
    watch = sage(
        'watch', bag.with_name('faults.timeline.yaml'), '--use-sim-time', '--json', '--timeout', 60
    )
    try:
        assert watch.stderr.readline().startswith('sage watch: watching /cam0/crops')
        replay = sage('replay', bag, '--clock', 100, '--wait-for-subscribers')
        assert replay.wait(60) == 0, replay.stderr.read()
        out, err = watch.communicate(timeout=60)
    finally:
        watch.kill()
    assert 'Traceback' not in err
    found = json.loads(out)
    return watch.returncode, {
        re.match(r'(cam0 attends|cam0 raises|the \w+|no LCT)', each['text'])[0]: each
        for each in found['expectations']
    }


def test_same_timeline_offline_and_online(bag, graph):
    offline = regress(bag)
    assert [o.passed for o in offline.outcomes] == [True, True, True, True, True, None]
    graph()
    code, verdicts = watched(bag)
    assert {text: each['detail'] for text, each in verdicts.items() if not each['passed']} == {}
    assert len(verdicts) == 6
    assert code == 0


def test_second_of_latency_is_named(bag, graph):
    """A relay that delays the images stands for a slow transport."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
    node = rclpy.create_node('slow', context=context)
    late = node.create_publisher(Image, '/slow/image_raw', 10)
    timers = []

    def delay(message):
        timer = threading.Timer(1.0, late.publish, [message])
        timer.start()
        timers.append(timer)

    node.create_subscription(Image, '/cam0/image_raw', delay, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        graph('/slow/image_raw')
        code, verdicts = watched(bag)
    finally:
        for timer in timers:
            timer.join()
        executor.shutdown()
        thread.join()
        node.destroy_node()
        context.shutdown()
    assert code == 1
    latency = verdicts['the latency']
    assert not latency['passed']
    assert 1.0 <= float(re.search(r'at most ([\d.]+) s', latency['detail'])[1]) < 2.5


def test_graph_without_frames_cannot_be_judged(bag):
    done = sage('watch', bag.with_name('faults.timeline.yaml'), '--timeout', 0.5)
    _, err = done.communicate(timeout=30)
    assert done.returncode == 2
    assert 'no frame arrived on /cam0/crops, /trust_report within 0.5 s: start the graph' in err


def test_wrong_namespace_is_one_line(bag):
    done = sage('watch', bag.with_name('faults.timeline.yaml'), '--namespace', 'a b')
    _, err = done.communicate(timeout=30)
    assert done.returncode == 2
    assert err.startswith('sage watch: --namespace: ')
    assert len(err.splitlines()) == 1
