# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Every test process runs ROS on a domain of its own, on this host only, with checked fields."""

import collections
import fcntl
import itertools
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# Above 101 the ports of a domain are among those that Linux hands to any process.
DOMAINS = 101
# Never the same one twice running: what was killed on a domain lingers there for some seconds.
_candidates = itertools.count(os.getpid() * 7)


@contextmanager
def claimed_domain():
    """Give a ROS_DOMAIN_ID that no other test process of this host has, while it is held."""
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
    raise RuntimeError(f'all ROS domains are in use: {folder}')


# The same examples each time, however busy the machine.
settings.register_profile('sage', deadline=None, derandomize=True, database=None)
settings.load_profile('sage')

_own = claimed_domain()  # held until the process ends
os.environ['ROS_DOMAIN_ID'] = str(_own.__enter__())
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
# The keys of whoever runs the tests are not those of the tests.
os.environ['SAGE_KEYS'] = str(Path(tempfile.gettempdir(), 'sage_test_without_keys'))
# Nor what is cached; what takes long to make is kept from run to run.
os.environ['XDG_CACHE_HOME'] = str(Path(tempfile.gettempdir(), f'sage_test_cache_{os.getuid()}'))
# The messages read it when they are imported.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'


PATIENCE_S = 30.0


class Ros:
    """ROS in this process: a context, and a thread that spins the nodes made in it."""

    def __init__(self):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes = []
        self._subscriptions = {}
        self._closing = False
        # The tester: for what the tests publish, hear and ask for.
        self.node = self.add(Node('tester', context=self.context))
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        while not self._closing:
            self._executor.spin_once(timeout_sec=0.1)

    def add(self, node):
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def make(self, kind, *arguments, name='under_test', namespace=''):
        """Make a node with command line arguments, as the user would give them."""
        line = ['--ros-args', '-r', f'__node:={name}']
        line += ['-r', f'__ns:=/{namespace}'] if namespace else []
        line += list(arguments)
        return self.add(kind(context=self.context, cli_args=line, use_global_arguments=False))

    def collect(self, kind, topic, qos=100, last=None):
        """Return a list that grows by each message of a topic; `last`: keeps so many only."""
        received = [] if last is None else collections.deque(maxlen=last)
        # rclpy wants a function that tells its arguments.
        subscription = self.node.create_subscription(
            kind, topic, lambda message: received.append(message), qos
        )
        self._subscriptions[id(received)] = subscription
        return received

    def forget(self, received):
        """Collect no more."""
        self.node.destroy_subscription(self._subscriptions.pop(id(received)))

    def ask(self, kind, service, **fields):
        """Call a service and return its response."""
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(PATIENCE_S), f'no service {service}'
        future = client.call_async(kind.Request(**fields))
        self.wait_for(future.done, f'an answer of {service}')
        self.node.destroy_client(client)
        return future.result()

    def wait_for(self, condition, what='it', timeout_s=PATIENCE_S):
        """Wait until `condition()` is true and return what it returned."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.01)
        pytest.fail(f'{what}: not within {timeout_s:g} s')

    def close(self):
        self._closing = True
        self._thread.join()
        raised = {}
        for node in self._nodes:
            if hasattr(node, 'callback_guard'):
                raised |= node.callback_guard.errors
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        self._executor.shutdown()
        self.context.try_shutdown()
        assert not raised, f'callbacks raised exceptions: {raised}'


@pytest.fixture(scope='session')
def new_ros():
    """Give what makes a node of this process, for fixtures that last longer than one test."""
    return Ros


@pytest.fixture
def ros():
    """Nodes in this process."""
    ros = Ros()
    yield ros
    ros.close()


@pytest.fixture(scope='module')
def domain():
    """A ROS domain for one test module, in the environment of what it starts."""
    with claimed_domain() as fresh, pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(fresh))
        yield fresh
