# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sends malformed messages to all nodes of a running graph, and counts what breaks."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sage_msgs.srv import QueryMemory

from fuzzing.client import Client, Endpoint, Pending, load_type
from fuzzing.own_memory import own_memory_mb
from fuzzing.private_devices import with_private_devices
from fuzzing.unlimited import BURST
from fuzzing.values import Mutator
from sage_perception.bringup.composition import compose
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.processes import GraphRunner
from sage_perception.models import available
from sage_perception.models.semantic.text_encoder import PACKAGE

MESSAGES, REQUESTS = 24, 4
"""Messages to a topic, and requests to a service, in one turn."""
ALIVE_S, RECOVERY_S = 30.0, 60.0
"""Time in which a node must answer, and in which a dead one must be back, seconds."""
SAMPLES_S = 15.0
"""Time in which valid messages of the topics are collected, seconds."""
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
        unanswered: number of requests that were not answered in time.
        exceptions: exceptions of callbacks that were caught, by node.
        rss_mb: growth of the memory of each process, see `own_memory_mb`, after the warm-up.
        silent: topics without a valid message after the attack.
        log: a line for each death, with the seeds of the messages that were sent meanwhile.
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
    # Valid messages arrive all the time; at a higher rate they would take most of the CPU time.
    source = 'synthetic://?size=160x120&fps=2'
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
        self._rounds: list[list[Endpoint]] = []
        self._restarts = self._count_restarts()
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
        if not client.receive(lambda: client.received['/diagnostics'] > 3, ALIVE_S):
            raise RuntimeError('the graph has no diagnostics')
        client.receive(lambda: all(client.received[name] for name, _ in outputs), SAMPLES_S)
        client.keeps_samples = False
        self._outputs = [
            name
            for name, _ in outputs
            if client.received[name] and name.rpartition('/')[2] not in RARE
        ]
        attacked = [node for node in self.nodes if self._only in ('', node.rpartition('/')[2])]
        if not attacked:
            raise ValueError(f'no node is named {self._only!r}: {", ".join(self.nodes)}')
        endpoints = client.endpoints(attacked)
        client.advertise(endpoints)
        self._rounds = rounds(endpoints)
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
        """Send `count` messages or some more, the same number to each topic, and to each service.

        No round is begun after `seconds`.
        """
        baseline: dict[str, float] = {}
        turn, begun = 0, time.monotonic()
        until = begun + seconds
        while (sent := self.result.sent.total()) < count and time.monotonic() < until:
            done = max(sent / count, (time.monotonic() - begun) / seconds)
            if done >= WARM_UP and not baseline:
                baseline = self._memory()
            for endpoints in self._rounds:
                if time.monotonic() < until:
                    self._attack(endpoints, turn)
            turn += 1
            self.result.rss_mb = self._memory()
            on_progress(self.result)
        self._client.receive(lambda: False, 1.5)  # also the last diagnostics
        self.result.rss_mb = {
            name: mb - baseline.get(name, mb) for name, mb in self._memory().items()
        }
        self._check_outputs()
        self.result.exceptions = {n: c for n, c in self._client.exceptions.items() if c}

    def _attack(self, endpoints: list[Endpoint], turn: int) -> None:
        """Attack the endpoints of a round side by side, and look for the nodes that break."""
        nodes = [node for endpoint in endpoints for node in endpoint.nodes]
        before = self._restarts
        seeds = {each: f'{self._seed}:{each.name}:{turn}' for each in endpoints}
        running = [self._steps(each, Mutator(seed)) for each, seed in seeds.items()]
        while running and self._count_restarts() == before:
            pending = [(steps, next(steps, None)) for steps in running]
            running = [steps for steps, sent in pending if sent is not None]
            self._client.wait(
                [each for _, sent in pending for each in sent or ()],
                ALIVE_S,
                lambda: self._count_restarts() != before,
            )
        pings = {node: self._client.ping(node, 1, ALIVE_S) for node in nodes}
        self._client.wait([each for sent in pings.values() for each in sent], ALIVE_S)
        after = self._restarts = self._count_restarts()
        silent = [n for n, sent in pings.items() if not any(e.future.done() for e in sent)]
        broken = {process: 'died' for process in after if after[process] != before[process]}
        broken |= {n: 'does not answer' for n in silent if self.nodes[n] not in broken}
        for name, what in broken.items():
            self.result.deaths += 1
            cause = self._runner.processes[self.nodes.get(name, name)].cause
            sent = ', '.join(seeds.values())
            self.result.log.append(f'{name} {what} after {sent}: {cause}')
        for node in nodes if broken else ():
            self._client.is_alive(node, RECOVERY_S)

    def _steps(self, endpoint: Endpoint, mutator: Mutator) -> Iterator[list[Pending]]:
        """Send messages or requests; yield the requests to wait for before the next ones."""
        send = self._request if endpoint.is_service else self._publish
        return send(endpoint, mutator)

    def _publish(self, endpoint: Endpoint, mutator: Mutator) -> Iterator[list[Pending]]:
        kind = load_type(endpoint.kind)
        samples = [*self._client.samples.get(endpoint.name, ()), b'']
        for number in range(MESSAGES):
            message = mutator.typed(kind, mutator.random.choice(samples[:-1] or samples))
            how, damaged = ('typed', message) if number % 2 else ('raw', mutator.raw(message))
            self.result.sent[how] += self._client.publish(endpoint, damaged)
            if number % BURST == BURST - 1:
                yield [
                    ping
                    for node in endpoint.nodes
                    for ping in self._client.ping(node, BURST, ALIVE_S)
                ]

    def _request(self, endpoint: Endpoint, mutator: Mutator) -> Iterator[list[Pending]]:
        kind, (node,) = load_type(endpoint.kind), endpoint.nodes
        requests = [mutator.typed(kind.Request, b'') for _ in range(REQUESTS)]
        service = endpoint.name.rpartition('/')[2]
        for request in requests:
            if service == 'change_state':
                request.transition.id |= 128  # valid ones stop the node, as they should
                request.transition.label = 'x' + request.transition.label
            if service in PARAMETER_SERVICES:
                known = mutator.random.choices(self._parameters[node], k=2)
                request.parameters = [mutator.typed(type(parameter), b'') for parameter in known]
                for parameter, own in zip(request.parameters, known, strict=True):
                    parameter.name = parameter.name or own.name
                    parameter.value.type = mutator.random.choice((own.value.type, 0, 7, 200))
        self.result.sent['request'] += len(requests)
        pending = self._client.ask(endpoint.name, kind, requests, ALIVE_S)
        yield pending
        self.result.unanswered += len(requests) - sum(each.future.done() for each in pending)
        if service in PARAMETER_SERVICES:
            yield self._client.restore(node, self._parameters[node], ALIVE_S)

    def _count_restarts(self) -> dict[str, int]:
        """Return the restarts of each process."""
        return {path: process.restarts for path, process in self._runner.processes.items()}

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

        self._client.receive(lambda: not silent(), ALIVE_S)
        self.result.silent = silent()


def rounds(endpoints: Iterable[Endpoint]) -> list[list[Endpoint]]:
    """Return groups of endpoints in which no node occurs twice, each in the first one possible."""
    found: list[tuple[set[str], list[Endpoint]]] = []
    for endpoint in endpoints:
        for busy, group in found:  # noqa: B007 - both are used after the loop
            if busy.isdisjoint(endpoint.nodes):
                break
        else:
            busy, group = set(), []
            found.append((busy, group))
        busy.update(endpoint.nodes)
        group.append(endpoint)
    return [group for _, group in found]
