# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The services of the memory node: search, store and delete records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.callback_groups import ReentrantCallbackGroup
from sage_msgs.srv import Forget, QueryMemory, Remember

from sage_perception.memory import Hit, Query, Space, StoreError
from sage_perception.memory.session import MemorySession
from sage_perception.memory.words import WordSearch
from sage_perception.models import load_crop_codec, load_semantic
from sage_perception.ros.authentication import RequestGuard
from sage_perception.ros.background import Worker
from sage_perception.ros.conversions.latents import Packers, latent_from_msg
from sage_perception.ros.conversions.memory import memory_to_msg, query_from_msg, recalled_to_msg
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.node_parameters.memory import MAX_RESULTS
from sage_perception.ros.relayed import RelayedVerifier
from sage_perception.ros.tables import Service
from sage_perception.trust.security.identity import Identity

DEFAULT_RESULTS = 10
MAX_DECODED = 100
"""Records without codes that a search by words decodes, half a second of work."""

SERVES = (
    Service('~/query', QueryMemory, 'Search by words, similarity, time, entity, track and thing.'),
    Service('~/remember', Remember, 'Store an LCT regardless of its salience.'),
    Service('~/forget', Forget, 'Delete records by time, entity and track.'),
)


class MemoryServices:
    """Serves `SERVES` of a node with the parameter `model`, whose latents `packers` unpack.

    The models of a search by words are loaded for the first one, and run, in a worker thread: the
    node goes on with its messages. `close` must be called before the node is destroyed.
    """

    def __init__(
        self,
        node: Endpoints,
        session: MemorySession,
        space: Space,
        packers: Packers,
        verifier: RelayedVerifier,
        requests: RequestGuard,
        identity: Identity,
    ) -> None:
        self._node, self._session, self._space, self._packers = node, session, space, packers
        self._verifier, self._requests, self._identity = verifier, requests, identity
        self._worker = Worker(node, 'search by words')
        self._words: WordSearch | None = None
        node.serve('~/query', self._query, ReentrantCallbackGroup())
        node.serve('~/remember', self._remember)
        node.serve('~/forget', self._forget)

    def close(self) -> None:
        """Wait for the search in progress, and cancel all others."""
        self._worker.close()

    async def _query(
        self, request: QueryMemory.Request, response: QueryMemory.Response
    ) -> QueryMemory.Response:
        with self._reported_in(response):
            query = self._query_of(request)
            if request.text.strip():
                hits = await self._find_words(query, request.text)
            else:
                with self._node.lock:
                    hits = self._session.find(query)
            with self._node.lock:
                response.memories = [
                    memory_to_msg(hit, recalled_to_msg(hit, self._identity)) for hit in hits
                ]
        return response

    def _query_of(self, request: QueryMemory.Request) -> Query:
        like = None
        if request.like:
            latent = latent_from_msg(request.like[0], self._packers)
            if latent.model.fingerprint != self._space.model.fingerprint:
                raise ValueError(
                    f'a latent of {latent.model}: this memory is of {self._space.model}'
                )
            like = latent.mean
        if request.count > MAX_RESULTS:
            raise ValueError(f'count is {request.count}: it must be at most {MAX_RESULTS}')
        return query_from_msg(request, like, request.count or DEFAULT_RESULTS)

    async def _find_words(self, query: Query, text: str) -> Sequence[Hit]:
        """Return the records that fit a text best: models run in the worker, the store here."""

        def encode() -> tuple[WordSearch, np.ndarray]:
            words = self._word_search(text)
            return words, words.encode()

        words, code = await self._worker.call(encode)
        with self._node.lock:
            found = self._session.collect(query, words, code)
        ranked = await self._worker.call(lambda: words.rank(found, query, self._space))
        with self._node.lock:
            return self._session.with_things(ranked.hits)

    def _word_search(self, text: str) -> WordSearch:
        if self._words is None:
            codec = load_crop_codec(self._node.parameters.model)
            self._words = WordSearch(load_semantic(), codec, text, MAX_DECODED)
        return replace(self._words, text=text)

    def _remember(
        self, request: Remember.Request, response: Remember.Response
    ) -> Remember.Response:
        with self._reported_in(response):
            self._requests.require(request, '~/remember')
            self._session.remember(self._verifier.verify(request.lct))
        return response

    def _forget(self, request: Forget.Request, response: Forget.Response) -> Forget.Response:
        with self._reported_in(response):
            self._requests.require(request, '~/forget')
            times = (request.since, request.until)
            if times == (Time(), Time()) and not (request.entity_id or request.track_id):
                raise ValueError('set at least one of since, until, entity_id and track_id')
            response.forgotten = self._session.forget(query_from_msg(request))
        return response

    @contextmanager
    def _reported_in(
        self, response: QueryMemory.Response | Remember.Response | Forget.Response
    ) -> Iterator[None]:
        """Report the success of the body, or its error, in the response."""
        try:
            if self._session.fault:
                raise StoreError(self._session.fault)
            yield
        except (ValueError, StoreError) as error:
            response.message = str(error)
        else:
            response.success = True
