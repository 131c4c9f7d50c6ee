# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Two machines and a hostile third: network namespaces with addresses of their own, UDP only.

Each namespace is what a machine is to the network: nothing but packets passes between them. It
takes root and `ip`; without them the tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from sage_perception.cli import keys as keys_command

HERE = Path(__file__).parent
ADDRESSES = {'robot': '10.213.7.1', 'other': '10.213.7.2', 'hostile': '10.213.7.3'}


class Network:
    """Machines on one switch, whose cables can be disconnected."""

    def __init__(self):
        self.name = f'sg{os.getpid() % 10**6}'
        self.switch = f'{self.name}-switch'
        self._up: list[str] = []

    def build(self):
        self._add(self.switch)
        self._inside(self.switch, 'link add br0 type bridge mcast_snooping 0')
        self._inside(self.switch, 'link set br0 up')
        for machine, address in ADDRESSES.items():
            space = self.space(machine)
            self._add(space)
            # The names of interfaces have at most 15 letters.
            run(f'ip -n {self.switch} link add {machine} type veth peer name eth0 netns {space}')
            self._inside(self.switch, f'link set {machine} master br0 up')
            self._inside(space, f'addr add {address}/24 dev eth0')
            self._inside(space, 'link set eth0 up')
            self._inside(space, 'link set lo up')

    def space(self, machine):
        return f'{self.name}-{machine}'

    def _add(self, space):
        run(f'ip netns add {space}')
        self._up.append(space)

    def _inside(self, space, command):
        run(f'ip -n {space} {command}')

    def disconnect(self, machine):
        self._inside(self.switch, f'link set {machine} down')

    def reconnect(self, machine):
        self._inside(self.switch, f'link set {machine} up')

    def close(self):
        for space in self._up:
            run(f'ip netns del {space}')


def run(command):
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode:
        raise OSError(f'{command}: {done.stderr.strip()}')


@pytest.fixture(scope='module')
def network():
    if shutil.which('ip') is None:
        pytest.skip('there is no `ip` to make network namespaces with (package iproute2)')
    network = Network()
    try:
        network.build()
    except OSError as error:
        network.close()
        pytest.skip(f'this kernel or user may not make network namespaces: {error}')
    yield network
    network.close()


class Machines:
    """Processes on the machines, and their output."""

    def __init__(self, network, domain):
        self.network = network
        self.told: list[dict] = []
        self.written: list[str] = []
        self._processes: list[subprocess.Popen] = []
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.endswith('_PROFILES_FILE')},
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
            # No shared memory: the machines are one to the kernel.
            'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4',
        }

    def start(self, machine, *command, namespace='', **parameters):
        arguments = [sys.executable, *map(str, command)]
        if parameters:
            arguments += ['--ros-args', '-r', f'__ns:=/{namespace}']
            for name, value in parameters.items():
                arguments += ['-p', f'{name}:={value}']
        process = subprocess.Popen(
            ['ip', 'netns', 'exec', self.network.space(machine), *arguments],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes.append(process)
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def node(self, machine, name, namespace='', **parameters):
        module = f'sage_perception.nodes.{name}_node'
        self.start(machine, '-m', module, namespace=namespace, **parameters)

    def script(self, machine, *arguments):
        self.start(machine, HERE / 'machines.py', *arguments)

    def _read(self, process):
        for line in process.stdout:
            if line.startswith('{'):
                self.told.append(json.loads(line))
            else:
                self.written.append(line)

    def since(self, number=0):
        return self.told[number:]

    def close(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope='module')
def machines(network, domain, tmp_path_factory):
    keys = tmp_path_factory.mktemp('keys')
    assert keys_command.main(['create', 'cam0', 'cam1', 'arbiter', '--dir', str(keys)]) == 0
    machines = Machines(network, domain)
    machines.node(
        'robot', 'arbiter', keys=keys, key=keys, require_signatures='true', sync_timeout_s=0.5
    )
    machines.node('robot', 'encoder', 'cam0', key=keys)
    machines.node('other', 'encoder', 'cam1', key=keys)
    machines.script('robot', 'show', 'cam0', keys)
    machines.script('other', 'show', 'cam1')
    yield machines
    machines.close()


@pytest.fixture
def until(request):
    """Return a function that waits for a condition on the lines from now on."""
    wait_for = request.getfixturevalue('new_ros').wait_for

    def wait(machines, condition, what):
        start = len(machines.told)

        def told():
            value = condition(machines.since(start))
            return value

        try:
            return wait_for(None, told, what)
        except pytest.fail.Exception:
            print(*machines.written[-40:], sep='')
            raise

    return wait


def views(told):
    """Return the number of views in each fused latent."""
    return [line['fused'] for line in told if 'fused' in line]


def test_latents_of_two_machines_are_fused(machines, until):
    until(machines, lambda told: views(told).count(2) >= 5, 'latents of both machines')
    trusted = Counter(line['trusted'] for line in machines.told if 'trusted' in line)
    assert set(trusted) == {'cam0', 'cam1'}
    # The arbiter is on another machine than the encoder of cam1.
    switched = 'cam1/lcts has subscribers on another host: latents are sent as entropy_int8'
    until(machines, lambda told: switched in ''.join(machines.written), switched)


def test_fusion_continues_alone_while_a_cable_is_disconnected(machines, until):
    machines.network.disconnect('other')
    until(machines, lambda told: views(told)[-5:] == [1] * 5, 'the robot goes on alone')
    machines.network.reconnect('other')
    until(machines, lambda told: views(told)[-5:] == [2] * 5, 'both are together again')


@pytest.fixture(scope='module')
def attacked(machines):
    """The machines, while a third one attacks both cameras."""
    machines.script('hostile', 'attack', 'cam0,cam1')
    return machines


def test_attacks_of_a_hostile_machine_are_rejected_by_reason(attacked, until):
    reasons = (
        'replayed or outdated sequence',
        'invalid signature',
        'malformed message',
        'rate limit exceeded',
    )
    wanted = {f'{camera} rejected: {reason}' for camera in ('cam0', 'cam1') for reason in reasons}
    until(
        attacked,
        lambda told: wanted <= {k for line in told for k in line.get('rejected', {})},
        'every attack is named',
    )
    assert all(line['sound'] for line in attacked.told if 'trusted' in line)


def test_honest_machines_are_fused_during_an_attack(attacked, until, publisher_ids):
    flood = 'cam0 rejected: rate limit exceeded'
    until(
        attacked,
        lambda told: flood in {k for line in told for k in line.get('rejected', {})},
        'the rate limit is exceeded',
    )
    until(attacked, lambda told: views(told).count(2) >= 10, 'fusion as before')
