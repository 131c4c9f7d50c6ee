# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The canonical bytes of an array of LCTs, which one signature covers.

The LCTs of a frame are the leaves of a Merkle tree (RFC 9162, section 2.1.1, with SHA-256). The
signature covers its root, so that any of the LCTs can be verified without the others: with the
digests on the path from its leaf to the root.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from sage_perception.core.lct import (
    NO_PARENT,
    Membership,
    Operation,
    Proof,
    Provenance,
    encoded_id,
)
from sage_perception.trust.security.limits import DIGEST_BYTES, MAX_ARRAY, MAX_FRAME_ID_BYTES
from sage_perception.trust.security.text_form import text_form

VERSION = 2
ARRAY_TAG = b'sage.LCTArray' + bytes([VERSION])
FRAME_TAG = b'sage.Frame' + bytes([VERSION])
LEAF_TAG = b'sage.Crop' + bytes([VERSION])

_SIZE = struct.Struct('<HH')
_ARRAY = struct.Struct('<Qq')  # sequence, stamp
_TRUST = struct.Struct('<f')


def frame_digest(frame_id: str, width: int, height: int) -> bytes:
    """Return the SHA-256 of a frame id and a size in pixels; raises as `array_form` does."""
    try:
        size = _SIZE.pack(width, height)
    except struct.error as error:
        raise ValueError(f'a frame of {width} x {height} pixels: at most 65535') from error
    return hashlib.sha256(FRAME_TAG + text_form(frame_id, MAX_FRAME_ID_BYTES) + size).digest()


def array_form(
    entity_id: str, sequence: int, stamp_ns: int, frame: bytes, count: int, root: bytes
) -> bytes:
    """Return the bytes that the signature of an array covers.

    `frame` is that of `frame_digest`, `root` that of `tree` over `count` leaves. Raises
    `ValueError` for a value that no message can hold.
    """
    try:
        numbers = _ARRAY.pack(sequence, stamp_ns)
    except struct.error as error:
        raise ValueError(
            f'an array of {entity_id!r} does not fit in a message: {error}'
        ) from error
    return b''.join((ARRAY_TAG, text_form(entity_id), numbers, frame, bytes([count]), root))


def leaf_digest(fingerprint: bytes, trust: float, latent: bytes) -> bytes:
    """Return the digest of an LCT in an array; `latent` is the digest of its latent."""
    try:
        packed = _TRUST.pack(trust)
    except OverflowError as error:
        raise ValueError(f'a trust of {trust} does not fit in a message') from error
    return hashlib.sha256(b'\0' + LEAF_TAG + fingerprint + packed + latent).digest()


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[bytes, ...]]]:
    """Return the root of the tree over at least one leaf, and the path of each leaf."""
    if len(leaves) == 1:
        return leaves[0], [()]
    split = _split(len(leaves))
    (left, left_paths), (right, right_paths) = tree(leaves[:split]), tree(leaves[split:])
    paths = [(*path, right) for path in left_paths] + [(*path, left) for path in right_paths]
    return _node(left, right), paths


def root_of(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """Return the root of a tree over `count` leaves from leaf `index` and its path.

    Raises `ValueError` if the path does not fit the tree.
    """
    sides = []  # from the root to the leaf: whether the leaf is on the right
    while count > 1:
        split = _split(count)
        right = index >= split
        sides.append(right)
        index, count = (index - split, count - split) if right else (index, split)
    if len(path) != len(sides) or any(len(digest) != DIGEST_BYTES for digest in path):
        raise ValueError(f'a path of {len(path)} digests does not fit the array of an LCT')
    for digest, right in zip(path, reversed(sides), strict=True):
        leaf = _node(digest, leaf) if right else _node(leaf, digest)
    return leaf


def array_member_form(
    lct_id: bytes,
    entity_id: str,
    provenance: Sequence[Provenance],
    proof: Proof,
    membership: Membership,
) -> bytes:
    """Return the bytes that the signature of an array covers, from one of its LCTs.

    Raises `ValueError` for an LCT that is not that of an encoder: its provenance must be one step
    ENCODE with the trust of the LCT, and its id the derived one.
    """
    index, count = membership.index, membership.count
    if not 0 <= index < count <= MAX_ARRAY or len(membership.frame) != DIGEST_BYTES:
        raise ValueError(f'an LCT is number {index} of an array of {count}')
    if len(provenance) != 1:
        raise ValueError(f'an LCT of an array has {len(provenance)} steps of provenance, not 1')
    [step] = provenance
    made = step.operation, step.entity_id, step.parent_id
    if made != (Operation.ENCODE, entity_id, NO_PARENT) or step.proof:
        raise ValueError('the provenance of an LCT of an array is not ENCODE by its entity')
    leaf = leaf_digest(step.model.fingerprint, proof.trust, proof.latent)
    if leaf != leaf_digest(step.model.fingerprint, step.trust, proof.latent):
        raise ValueError(f'an LCT of an array has trust {proof.trust}, its step {step.trust}')
    if not 0 <= proof.sequence < 2**64 or lct_id != encoded_id(entity_id, proof.sequence, index):
        raise ValueError('the id of an LCT of an array is not that of its sequence and index')
    root = root_of(leaf, index, count, membership.path)
    return array_form(entity_id, proof.sequence, proof.stamp_ns, membership.frame, count, root)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b'\1' + left + right).digest()


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1
