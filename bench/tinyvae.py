# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Time encoding and decoding on one thread: `python bench/tinyvae.py [MODEL] [--json]`."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

BACKENDS = ('onnxruntime', 'torch')
BATCHES = (1, 4, 8, 16)


def measure(model: str, backend: str) -> dict:
    """Return milliseconds a crop by batch size and the process's peak memory, MB.

    To be called in a process of its own.
    """
    import numpy as np

    from sage_perception.models import load

    if backend == 'torch':
        import torch

        torch.set_num_threads(1)
    codec = load(model, backend=backend)
    rng = np.random.default_rng(0)
    size = codec.input_size
    result = {'backend': backend, 'encode_ms': {}, 'decode_ms': {}}
    for batch in BATCHES:
        x = rng.random((batch, codec.input_channels, size, size), np.float32)
        z = codec.encode(x)
        result['encode_ms'][batch] = median_ms(lambda x=x: codec.encode(x)) / batch
        result['decode_ms'][batch] = median_ms(lambda z=z: codec.decode(z)) / batch
    result['process_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return result


def median_ms(call, seconds: float = 0.5) -> float:
    """Return the median time of a call, repeated for some `seconds`, milliseconds."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 20:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', nargs='?', default='tinyvae')
    parser.add_argument('--backend', choices=BACKENDS, help='measure this one, in this process')
    parser.add_argument('--json', action='store_true')
    args = parser.parse_args()
    if args.backend:
        print(json.dumps(measure(args.model, args.backend)))
        return
    one_thread = os.environ | {'OMP_NUM_THREADS': '1'}
    results = []
    for backend in BACKENDS:
        command = [sys.executable, __file__, args.model, '--backend', backend]
        done = subprocess.run(command, env=one_thread, stdout=subprocess.PIPE, check=True)
        results.append(json.loads(done.stdout))
    if args.json:
        print(json.dumps(results))
        return
    print('median milliseconds a crop, one thread')
    print(f'{"":24}' + ''.join(f'{f"batch {batch}":>10}' for batch in BATCHES))
    for result in results:
        for half in ('encode', 'decode'):
            values = result[f'{half}_ms'].values()
            name = f'{result["backend"]} {half}'
            print(f'{name:24}' + ''.join(f'{value:10.3f}' for value in values))
        print(f'{"":24}peak memory {result["process_mb"]:.0f} MB')


if __name__ == '__main__':
    main()
