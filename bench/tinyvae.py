# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Time encoding and decoding on one thread: `python bench/tinyvae.py [MODEL] [--out FILE]`.

If HRM_ROOT is a checkout of the public original (github.com/dp-web4/HRM), its TinyVAE, which runs
in torch, is timed in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from result_file import add_out, show_result, write_result

BACKENDS = ('onnxruntime', 'torch')
PEER = 'HRM, torch'
BATCHES = (1, 4, 8, 16)


def measure(model: str, backend: str) -> dict:
    """Return milliseconds per crop by batch size, and the peak memory of the process, MB.

    Call it in a separate process.
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


def measure_peer(root: str) -> dict:
    """Return the same figures of the public original; call it in a separate process."""
    import torch

    sys.path.insert(0, root)
    from sage.irp.plugins.tinyvae_irp_plugin import TinyVAE

    torch.set_num_threads(1)
    network = TinyVAE().eval()
    result = {'backend': PEER, 'encode_ms': {}, 'decode_ms': {}}
    with torch.inference_mode():
        for batch in BATCHES:
            x = torch.rand(batch, 3, 64, 64)
            z = network.encode(x)[0]
            result['encode_ms'][batch] = median_ms(lambda x=x: network.encode(x)) / batch
            result['decode_ms'][batch] = median_ms(lambda z=z: network.decode(z)) / batch
    result['process_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return result


def median_ms(call, seconds: float = 0.5) -> float:
    """Return the median duration, milliseconds, of a call repeated for `seconds`."""
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
    parser.add_argument(
        '--backend', choices=(*BACKENDS, PEER), help='measure this backend in this process'
    )
    add_out(parser, 'tinyvae')
    args = parser.parse_args()
    root = os.environ.get('HRM_ROOT', '')
    if args.backend:
        peer = args.backend == PEER
        result = measure_peer(root) if peer else measure(args.model, args.backend)
        show_result(result)
        return
    one_thread = os.environ | {'OMP_NUM_THREADS': '1'}
    results = []
    for backend in (*BACKENDS, PEER) if root else BACKENDS:
        command = [sys.executable, __file__, args.model, '--backend', backend]
        done = subprocess.run(command, env=one_thread, stdout=subprocess.PIPE, check=True)
        results.append(json.loads(done.stdout))
    write_result(args.out, results)
    print('median milliseconds per crop, one thread')
    print(f'{"":24}' + ''.join(f'{f"batch {batch}":>10}' for batch in BATCHES))
    for result in results:
        for direction in ('encode', 'decode'):
            values = result[f'{direction}_ms'].values()
            name = f'{result["backend"]} {direction}'
            print(f'{name:24}' + ''.join(f'{value:10.3f}' for value in values))
        print(f'{"":24}peak memory {result["process_mb"]:.0f} MB')


if __name__ == '__main__':
    main()
