# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recording, replaying and reading the bags of the demo, in separate processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGINT

from sage_perception.bags.reader import open_bag
from sage_perception.cli.demo.footage import DemoError

SAGE = (sys.executable, '-m', 'sage_perception.cli.main')
STOP_LIMIT_S = 30.0
"""Time the recorder has to close its bag, seconds."""

# Waits for a message on the topic of the fused LCTs.
_WAIT_FOR_FUSED = """
import sys, rclpy
from sage_msgs.msg import LCTArray
rclpy.init()
node = rclpy.create_node('demo')
node.create_subscription(LCTArray, 'fused', lambda message: sys.exit(), 10)
rclpy.spin(node)
"""
# Waits until each encoder has published its model, and the recorder subscribes to its LCTs.
_WAIT_FOR_ENCODERS = """
import sys, rclpy
from sage_msgs.msg import ModelInfo
from sage_perception.ros import qos
rclpy.init()
node = rclpy.create_node('demo')
missing = set(sys.argv[1:])
for name in sys.argv[1:]:
    found = lambda _, name=name: missing.discard(name)
    node.create_subscription(ModelInfo, f'/{name}/model_info', found, qos.LATCHED)
while missing or not all(node.count_subscribers(f'/{n}/lcts') for n in sys.argv[1:]):
    rclpy.spin_once(node, timeout_sec=0.05)
"""


@contextlib.contextmanager
def recording(
    bag: Path, topics: Sequence[str], env: Mapping[str, str], log: Path
) -> Iterator[None]:
    """Record `topics` to `bag` while the context lasts."""
    with open(log, 'w') as file:
        process = subprocess.Popen(
            [*SAGE, 'record', '-o', str(bag), *topics],
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.send_signal(SIGINT)
            code = process.wait(timeout=STOP_LIMIT_S)
    if code:
        raise DemoError(f'the recorder ended with exit code {code}; see {log}')


def replay(
    bag: Path, topics: Sequence[str], rate: float, env: Mapping[str, str], log: Path
) -> None:
    """Replay `topics` of `bag` with /clock, once they have subscribers."""
    options = ['--clock', '--rate', str(rate), '--wait-for-subscribers', '--topics', *topics]
    with open(log, 'w') as file:
        done = subprocess.run(
            [*SAGE, 'replay', str(bag), *options], env=env, stdout=file, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise DemoError(f'the replay ended with exit code {done.returncode}; see {log}')


def messages_of(path: Path) -> Iterator[tuple[str, object, int]]:
    """Yield topic, message and receive time (ns) of all messages of a bag."""
    with open_bag(path) as bag:
        for topic, _, received_ns, data in bag:
            yield topic, bag.deserialize(topic, data), received_ns


def start_waiting_for_fused(env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that exits when the arbiter publishes the first fused LCTs."""
    return subprocess.Popen([sys.executable, '-c', _WAIT_FOR_FUSED], env=env)


def wait_for_encoders(
    cameras: Sequence[str], env: Mapping[str, str], timeout_s: float, log: Path
) -> None:
    """Wait until the encoders of `cameras` are ready and recorded."""
    command = [sys.executable, '-c', _WAIT_FOR_ENCODERS, *cameras]
    try:
        subprocess.run(command, env=env, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise DemoError(
            f'the encoders of the replay were not ready within {timeout_s:.0f} s; see {log}'
        ) from None
