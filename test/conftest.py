# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests. Each test process has its own ROS domain, limited to this host."""

import collections
import fcntl
import importlib.metadata
import itertools
import os
import resource
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings

from sage_perception.ros.allocator import SMALL_MMAP_THRESHOLD, configure_allocator

# Above 101 the ports of a domain are in the ephemeral range of Linux.
DOMAINS = 101
# Successive processes use different domains: killed nodes are visible for some seconds.
_candidates = itertools.count(os.getpid() * 7)


@contextmanager
def claimed_domain():
    """Give a ROS_DOMAIN_ID that no other test process of this host uses."""
    folder = Path(tempfile.gettempdir(), f'sage_test_domains_{os.getuid()}')
    folder.mkdir(exist_ok=True)
    for _ in range(DOMAINS):
        domain = 1 + next(_candidates) % DOMAINS
        with (folder / str(domain)).open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    raise RuntimeError(f'all ROS domains are in use; see the locks in {folder}')


# The same examples in each run, without a time limit.
settings.register_profile('sage', deadline=None, derandomize=True, database=None)
settings.load_profile('sage')

_domain = claimed_domain()  # until the process ends
os.environ['ROS_DOMAIN_ID'] = str(_domain.__enter__())
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
# Do not use the keys of the user.
os.environ['SAGE_KEYS'] = str(Path(tempfile.gettempdir(), 'sage_test_without_keys'))
# Nor the cache of the user; this one is kept from run to run.
os.environ['XDG_CACHE_HOME'] = str(Path(tempfile.gettempdir(), f'sage_test_cache_{os.getuid()}'))
# Message modules read this variable on import.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'


# Endpoints of one test must not leave gigabytes to the next tests.
configure_allocator(SMALL_MMAP_THRESHOLD)


@pytest.fixture(autouse=True)
def restored_process():
    """Undo what a command or node that ran in the process of the tests has set for its own one.

    This is the choice of a DDS profile and the limit of the memory, which would end a later test
    with a segmentation fault.
    """
    names = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
    before = {name: os.environ.get(name) for name in names}
    memory = resource.getrlimit(resource.RLIMIT_DATA)
    yield
    resource.setrlimit(resource.RLIMIT_DATA, memory)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


TIMEOUT_S = 30.0
"""Time that a test waits for a condition, seconds."""
CLOSE_TIMEOUT_S = 20.0
"""Time for each step of the teardown of a node, seconds."""


def _complete(message):
    """Return a message; all LCTs of a valid array are then among its `lcts`."""
    if type(message).__name__ == 'LCTArray' and message.crops:
        from sage_perception.ros.conversions.lct_arrays import lct_messages

        with suppress(ValueError):  # of random content
            message.lcts, message.crops, message.telemetry = lct_messages(message), [], []
    return message


class Ros:
    """ROS in this process: a context, and a thread that spins the nodes of the test.

    `node` is a node for publishers, subscriptions and clients of the test itself.
    """

    def __init__(self):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes = []
        self._subscriptions = {}
        self._closing = threading.Event()
        self.node = self.add(Node('tester', context=self.context))
        self._thread = threading.Thread(target=self._spin, name='spin', daemon=True)
        self._thread.start()

    def _spin(self):
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def add(self, node):
        """Spin a node until the end of the test, then close and destroy it."""
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def make(self, kind, *arguments, name='under_test', namespace='', **parameters):
        """Create and spin a node of class `kind` with command line arguments and parameters."""
        line = ['--ros-args', '-r', f'__node:={name}']
        line += ['-r', f'__ns:=/{namespace}'] if namespace else []
        line += list(arguments)
        for parameter, value in parameters.items():
            line += ['-p', f'{parameter}:={value}']
        return self.add(kind(context=self.context, cli_args=line, use_global_arguments=False))

    def collect(self, kind, topic, qos=100, last=None):
        """Return a list that grows with each message of a topic; `last` limits its length.

        All LCTs of an array are among its `lcts`, complete.
        """
        received = [] if last is None else collections.deque(maxlen=last)
        # rclpy inspects the signature of a callback, which `append` does not have.
        subscription = self.node.create_subscription(
            kind, topic, lambda message: received.append(_complete(message)), qos
        )
        self._subscriptions[id(received)] = subscription
        return received

    def forget(self, received):
        """Destroy the subscription of a list that `collect` returned."""
        self.destroy(self._subscriptions.pop(id(received)))

    def destroy(self, entity):
        """Destroy an entity of `node` between two waits of its executor.

        rclpy raises `InvalidHandle` in the executor, which ends its thread, when another thread
        destroys an entity while the executor is building its wait set.
        """
        kind = type(entity).__name__.lower()
        task = self._executor.create_task(getattr(self.node, f'destroy_{kind}'), entity)
        self.wait_for(task.done, f'the destruction of a {kind}')

    def ask(self, kind, service, **fields):
        """Call a service and return its response."""
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(TIMEOUT_S), f'service {service} is not available'
        future = client.call_async(kind.Request(**fields))
        self.wait_for(future.done, f'a response of {service}')
        self.destroy(client)
        return future.result()

    def wait_for(self, condition, what='the condition', timeout_s=TIMEOUT_S):
        """Wait until `condition()` is true and return its value; fail after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.01)
        pytest.fail(f'{what}: not within {timeout_s:g} s')

    def close(self):
        """Stop to spin, and close and destroy the nodes.

        rclpy has hung in `destroy_node` while contexts of other tests were spinning, so that each
        step has a time limit; a step that exceeds it is reported with its stack.
        """
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            report_hang('the executor', self._thread)
            return
        steps = [
            (f'{node.get_name()}: {step.__name__}', step)
            for node in self._nodes
            for step in (getattr(node, 'close', None), node.destroy_node)
            if step
        ]
        steps += [('executor', self._executor.shutdown), ('context', self.context.try_shutdown)]
        for what, step in steps:
            if not finishes(what, step):
                return


def finishes(what, step):
    """Run the teardown `step` in a thread; return whether it ends within `CLOSE_TIMEOUT_S`.

    An exception of the step is raised.
    """
    errors = []

    def run():
        try:
            step()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run, name=f'teardown of {what}', daemon=True)
    thread.start()
    thread.join(CLOSE_TIMEOUT_S)
    if errors:
        raise errors[0]
    if thread.is_alive():
        report_hang(what, thread)
    return not thread.is_alive()


def report_hang(what, thread):
    """Warn that a teardown hangs, with the stack of its thread."""
    frame = sys._current_frames().get(thread.ident)
    stack = ''.join(traceback.format_stack(frame)) if frame else ''
    warnings.warn(f'teardown of {what} hangs:\n{stack}', stacklevel=2)


@pytest.fixture(scope='session')
def new_ros():
    """Return the class `Ros`, for fixtures that last longer than one test."""
    return Ros


@pytest.fixture
def ros():
    """Run nodes in this process."""
    ros = Ros()
    yield ros
    ros.close()


@pytest.fixture(scope='module')
def domain():
    """Claim a ROS domain for one test module and the processes that it starts."""
    with claimed_domain() as claimed, pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(claimed))
        yield claimed


@pytest.fixture(scope='session')
def publisher_ids():
    """Skip a test that needs rclpy to identify publishers: releases before Kilted do not."""
    if int(importlib.metadata.version('rclpy').split('.')[0]) < 9:
        pytest.skip('rclpy before Kilted does not identify publishers: a flood affects all')
