# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sends malformed messages to all nodes of a running graph, and counts what breaks."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sage_msgs.srv import QueryMemory

from fuzzing.client import Client, Endpoint, load_type, wait_for
from fuzzing.own_memory import own_memory_mb
from fuzzing.private_devices import with_private_devices
from fuzzing.values import Mutator
from sage_perception.bringup.composition import compose
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.processes import GraphRunner
from sage_perception.models import available
from sage_perception.models.semantic.text_encoder import PACKAGE

MESSAGES, REQUESTS = 24, 4
"""Messages to a topic, and requests to a service, in one turn."""
BURST = 8
"""Messages that are sent without waiting for the node."""
ALIVE_S, RECOVERY_S = 30.0, 60.0
"""Time in which a node must answer, and in which a dead one must be back, seconds."""
WARM_UP = 0.15
"""Share of the messages, or of the time, after which the growth of the memory is measured."""
RARE = ('probe_challenge', 'probe_answers')
"""Topics with messages at random times, a minute apart, and not in response to others."""
PARAMETER_SERVICES = ('set_parameters', 'set_parameters_atomically')


@dataclass
class Result:
    """What an attack did.

    Attributes:
        sent: number of messages and requests.
        deaths: number of processes that ended, and of nodes that did not answer.
        exceptions: exceptions of callbacks that were caught, by node.
        rss_mb: growth of the memory of each process, see `own_memory_mb`, after the warm-up.
        silent: topics without a valid message after the attack.
        log: a line for each death, with the endpoint and the seed that repeat it.
    """

    sent: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    unanswered: int = 0
    exceptions: dict[str, int] = field(default_factory=dict)
    rss_mb: dict[str, float] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            'sent': self.sent.total(),
            'deaths': self.deaths,
            'rss_mb_growth': round(max(self.rss_mb.values(), default=0.0), 1),
            'exceptions': sum(self.exceptions.values()),
            'unanswered_requests': self.unanswered,
            'silent_topics': self.silent,
            'by_kind': dict(self.sent),
            'rss_mb_by_process': {name: round(mb, 1) for name, mb in self.rss_mb.items()},
            'log': self.log,
        }


def graph(namespace: str, folder: Path, cameras: int, composed: bool) -> list[NodeSpec]:
    """Return the processes of a graph with all nodes, without rate limits."""
    source = 'synthetic://?size=160x120&fps=5'
    specs = perception(
        [Camera(f'cam{n}', f'{source}&seed={n}') for n in range(cameras)],
        namespace=namespace,
        memory=True,
        compressor=True,
        positions=True,
        slots='slots' in available(),
        zspace=True,
        proprioception=True,
        translator=find_spec(PACKAGE) is not None,
        effector=True,
        audio=True,
    )
    specs = with_private_devices(specs, folder)
    processes = compose(specs, 'graph' if composed else 'none')
    return [replace(spec, package='fuzzing') for spec in processes]


class Attack:
    """An attack on the nodes of a running graph; `seed` makes it repeatable.

    With `only`, the name of a node such as 'memory', nothing is sent to the others.
    """

    def __init__(self, runner: GraphRunner, client: Client, seed: int, only: str = '') -> None:
        self._runner, self._client, self._seed, self._only = runner, client, seed, only
        self.result = Result()
        specs = [process.spec for process in runner.processes.values()]
        self.nodes = {
            f'/{node.path}': process.path
            for process in specs
            for node in (process.nodes or (process,))
        }
        self._endpoints: list[Endpoint] = []
        self._parameters: dict[str, list] = {}
        self._outputs: list[str] = []

    def prepare(self) -> None:
        """Wait until the graph works, and keep samples of its messages."""
        client = self._client
        for node in self.nodes:
            if not client.is_alive(node, RECOVERY_S):
                failure = self._runner.failure or 'it does not answer'
                raise RuntimeError(f'{node} does not start: {failure}')
        outputs = {topic for node in self.nodes for topic in client.published(node)}
        outputs = {
            (name, kind) for name, kind in outputs if kind.split('/')[0] != 'rcl_interfaces'
        }
        client.watch(outputs)
        self._parameters = {node: client.parameters(node) for node in self.nodes}
        if not wait_for(lambda: client.received['/diagnostics'] > 3, ALIVE_S):
            raise RuntimeError('the graph has no diagnostics')
        wait_for(lambda: all(client.received[name] for name, _ in outputs), 8.0)
        client.keeps_samples = False
        self._outputs = [
            name
            for name, _ in outputs
            if client.received[name] and name.rpartition('/')[2] not in RARE
        ]
        attacked = [node for node in self.nodes if self._only in ('', node.rpartition('/')[2])]
        if not attacked:
            raise ValueError(f'no node is named {self._only!r}: {", ".join(self.nodes)}')
        self._endpoints = [each for node in attacked for each in client.endpoints(node)]
        self._load_models()

    def _load_models(self) -> None:
        """Search by words once: the models that the first search loads are not growth."""
        for node in self.nodes:
            if node.endswith('/memory'):
                request = QueryMemory.Request(text='a red car')
                self._client.call(f'{node}/query', QueryMemory, request, RECOVERY_S)

    def run(
        self,
        count: int,
        on_progress: Callable[[Result], None] = lambda _: None,
        seconds: float = math.inf,
    ) -> None:
        """Send `count` messages or some more, the same number to each endpoint.

        No message to an endpoint is begun after `seconds`.
        """
        baseline: dict[str, float] = {}
        turn, begun = 0, time.monotonic()
        until = begun + seconds
        while (sent := self.result.sent.total()) < count and time.monotonic() < until:
            done = max(sent / count, (time.monotonic() - begun) / seconds)
            if done >= WARM_UP and not baseline:
                baseline = self._memory()
            for endpoint in self._endpoints:
                if time.monotonic() < until:
                    self._attack(endpoint, turn)
            turn += 1
            self.result.rss_mb = self._memory()
            on_progress(self.result)
        time.sleep(1.0)
        self.result.rss_mb = {
            name: mb - baseline.get(name, mb) for name, mb in self._memory().items()
        }
        self._check_outputs()
        self.result.exceptions = {n: c for n, c in self._client.exceptions.items() if c}

    def _attack(self, endpoint: Endpoint, turn: int) -> None:
        seed = f'{self._seed}:{endpoint.node}:{endpoint.name}:{turn}'
        mutator = Mutator(seed)
        restarts = self._restarts(endpoint.node)
        if endpoint.is_service:
            self._request(endpoint, mutator)
        else:
            self._publish(endpoint, mutator)
        alive = self._client.is_alive(endpoint.node, ALIVE_S)
        if alive and self._restarts(endpoint.node) == restarts:
            return
        self.result.deaths += 1
        process = self._runner.processes[self.nodes[endpoint.node]]
        what = 'died' if self._restarts(endpoint.node) != restarts else 'does not answer'
        self.result.log.append(f'{endpoint.node} {what} after {seed}: {process.cause}')
        self._client.is_alive(endpoint.node, RECOVERY_S)

    def _publish(self, endpoint: Endpoint, mutator: Mutator) -> None:
        kind = load_type(endpoint.kind)
        samples = [*self._client.samples.get(endpoint.name, ()), b'']
        for number in range(MESSAGES):
            message = mutator.typed(kind, mutator.random.choice(samples[:-1] or samples))
            how, damaged = ('typed', message) if number % 2 else ('raw', mutator.raw(message))
            self.result.sent[how] += self._client.publish(endpoint, damaged)
            if number % BURST == BURST - 1:
                self._client.is_alive(endpoint.node, ALIVE_S)

    def _request(self, endpoint: Endpoint, mutator: Mutator) -> None:
        kind = load_type(endpoint.kind)
        requests = [mutator.typed(kind.Request, b'') for _ in range(REQUESTS)]
        service = endpoint.name.rpartition('/')[2]
        for request in requests:
            if service == 'change_state':
                request.transition.id |= 128  # valid ones stop the node, as they should
                request.transition.label = 'x' + request.transition.label
            if service in PARAMETER_SERVICES:
                known = mutator.random.choices(self._parameters[endpoint.node], k=2)
                request.parameters = [mutator.typed(type(parameter), b'') for parameter in known]
                for parameter, own in zip(request.parameters, known, strict=True):
                    parameter.name = parameter.name or own.name
                    parameter.value.type = mutator.random.choice((own.value.type, 0, 7, 200))
        answers = self._client.call_all(endpoint.name, kind, requests, ALIVE_S)
        self.result.sent['request'] += len(requests)
        self.result.unanswered += len(requests) - len(answers)
        if service in PARAMETER_SERVICES:
            self._client.restore(endpoint.node, self._parameters[endpoint.node])

    def _restarts(self, node: str) -> int:
        return self._runner.processes[self.nodes[node]].restarts

    def _memory(self) -> dict[str, float]:
        """Return the memory of the processes, megabytes."""
        return {
            path: own_memory_mb(process.pid)
            for path, process in self._runner.processes.items()
            if process.pid is not None
        }

    def _check_outputs(self) -> None:
        """Find the topics that have no messages any more."""
        received = self._client.received
        before = dict(received)

        def silent() -> list[str]:
            return [name for name in self._outputs if received[name] <= before[name] + 1]

        wait_for(lambda: not silent(), ALIVE_S)
        self.result.silent = silent()
