# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of latent maps: a NumPy archive for each pair of latent spaces."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from sage_perception.core.files import cache_folder
from sage_perception.core.npz_file import read_npz, write_npz
from sage_perception.core.text import one_line
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.latent_map import LatentMap

LOG = logging.getLogger(__name__)
MAX_BYTES = 1 << 26


def latent_map_folder() -> Path:
    """Return the default folder of latent maps, in the user's cache folder."""
    return cache_folder() / 'calibrations'


def latent_map_path(folder: Path, sender: bytes, receiver: bytes) -> Path:
    """Return the file in `folder` for the map between two fingerprints."""
    return folder / f'{sender.hex()[:24]}-{receiver.hex()[:24]}.npz'


def save_latent_map(path: Path, latent_map: LatentMap) -> None:
    """Write a map as a NumPy archive, atomically; create the folder. Raises `OSError`."""
    arrays = {
        'fingerprints': np.frombuffer(latent_map.sender + latent_map.receiver, np.uint8),
        'probe_set': np.array(probe_set.SHA256),
        'weights': latent_map.weights,
        'offset': latent_map.offset,
        'residual': latent_map.residual,
        'method': np.array(latent_map.method),
        'probes': np.array(latent_map.image_count),
        'scores': np.array([latent_map.r2, latent_map.p_value]),
    }
    write_npz(path, arrays)


def load_latent_map(path: Path) -> LatentMap:
    """Return the map in a file.

    Raises `FileNotFoundError`, or `ValueError` for a file that is damaged or was fitted on another
    probe set.
    """
    try:
        file = read_npz(path, MAX_BYTES)
        probes = str(file['probe_set'])
        fingerprints = file['fingerprints'].tobytes()
        r2, p_value = (float(score) for score in file['scores'])
        latent_map = LatentMap(
            sender=fingerprints[:32],
            receiver=fingerprints[32:],
            weights=np.asarray(file['weights'], np.float64),
            offset=np.asarray(file['offset'], np.float64),
            residual=np.asarray(file['residual'], np.float64),
            method=str(file['method']),
            image_count=int(file['probes']),
            r2=r2,
            p_value=p_value,
        )
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f'{path} is not a latent map: {error.strerror}') from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is not a latent map: {one_line(error)}') from error
    if probes != probe_set.SHA256:
        raise ValueError(f'{path} was fitted on another probe set: run `sage align` again')
    weights, offset, residual = latent_map.weights, latent_map.offset, latent_map.residual
    if weights.ndim != 2 or not offset.shape == residual.shape == weights.shape[1:]:
        raise ValueError(f'{path} is not a latent map: its arrays have inconsistent shapes')
    if not all(np.isfinite(array).all() for array in (weights, offset, residual, r2, p_value)):
        raise ValueError(f'{path} is not a latent map: it has values that are not finite')
    return latent_map


def find_latent_map(folder: Path, sender: bytes, receiver: bytes) -> LatentMap | None:
    """Return the stored map between two fingerprints, None if there is no valid one.

    A file that exists and is not valid is logged as a warning.
    """
    path = latent_map_path(folder, sender, receiver)
    try:
        stored = load_latent_map(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        LOG.warning('%s; the map is fitted again', error)
        return None
    if (stored.sender, stored.receiver) != (sender, receiver):
        LOG.warning('%s is of other latent spaces; the map is fitted again', path)
        return None
    return stored


def store_latent_map(folder: Path, latent_map: LatentMap) -> None:
    """Write a map to `folder`; log a warning if that fails."""
    path = latent_map_path(folder, latent_map.sender, latent_map.receiver)
    try:
        save_latent_map(path, latent_map)
    except OSError as error:
        LOG.warning('latent map not stored in %s: %s', path, error.strerror)
