# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage keys`: makes the keys with which entities sign, and says whose are believed."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.cli.terminal import Parser, add_command, in_one_line
from sage_perception.trust.security.keys import (
    DEFAULT_FOLDER,
    ENVIRONMENT,
    PREFIX,
    key_folder,
    key_path,
    key_text,
    load_key,
    public_bytes,
    read_key_text,
    require_no_key,
    save_key,
)
from sage_perception.trust.security.trust_store import TrustStore

HELP = f"""\
Whoever speaks in LCTs, an entity such as robot1/cam0, signs them with its secret key.
Whoever listens believes the entities whose public keys it trusts, and nobody else.

Two robots that are to believe each other:
  on robot1   sage keys create robot1/cam0 robot1/cam1
  on robot2   sage keys trust robot1/cam0 ed25519:…    as create printed it
              sage keys trust robot1/cam1 ed25519:…
  and the other way round. Pass keys on by a way that nobody can tamper with: ssh, a USB stick.

A new key every so often, without a break:
  on robot1   sage keys create robot1/cam0 --rotate    robot1/cam0 signs with the old key until
                                                       its node starts anew
  on robot2   sage keys trust robot1/cam0 ed25519:…    both keys are believed now
  then start the node anew, and on both
              sage keys revoke robot1/cam0 ed25519:…   the old key

A key that others may have seen: sage keys revoke robot1/cam0, everywhere; at once, no node need
start anew. A key that was revoked is never trusted again.

Keys are in {DEFAULT_FOLDER}, unless --dir or the variable {ENVIRONMENT} says otherwise:
ENTITY.key, which never leaves the machine, and trusted.json.
"""


def create(folder: Path, args: argparse.Namespace) -> None:
    """Make key pairs, trust them here, and say what others have to type."""
    store, entities = TrustStore(folder), dict.fromkeys(args.entities)
    if not args.rotate:
        for entity in entities:
            require_no_key(folder, entity)
    for entity in entities:
        key = Ed25519PrivateKey.generate()
        public = public_bytes(key)
        # Nobody is to trust a key that could not be kept.
        path = save_key(folder, entity, key, args.rotate, partial(store.trust, entity, public))
        print(f'{entity} signs with {path} and is trusted here. Where it is to be believed, type')
        print(f'  sage keys trust {shlex.quote(entity)} {key_text(public)}')


def show(folder: Path, args: argparse.Namespace) -> None:
    """Print a line for each key."""
    store = TrustStore(folder)
    if not store.entities:
        print(f'no keys in {folder}: sage keys create ENTITY makes one')
    for entity, keys in sorted(store.entities.items()):
        own = _own(folder, entity)
        for key in keys:
            state = f'revoked {key.revoked}' if key.revoked else f'trusted since {key.added}'
            print(f'{entity}  {key}  {state}{", signs here" if key.public == own else ""}')


def trust(folder: Path, args: argparse.Namespace) -> None:
    """Trust a key."""
    key = TrustStore(folder).trust(args.entity, read_key_text(args.key))
    print(f'{args.entity} is believed when it signs with {key}')


def revoke(folder: Path, args: argparse.Namespace) -> None:
    """Revoke a key, or all of an entity."""
    store = TrustStore(folder)
    for key in store.revoke(args.entity, args.key and read_key_text(args.key)):
        print(f'{args.entity} is no longer believed when it signs with {key}')
    if not any(not key.revoked for key in store.keys_of(args.entity)):
        print(f'{args.entity} has no valid key left: nothing it says is believed')


def _own(folder: Path, entity: str) -> bytes | None:
    """Return the public key with which an entity signs here; None where it does not."""
    if not key_path(folder, entity).exists():
        return None
    return public_bytes(load_key(folder, entity))


def parser() -> Parser:
    """Return the parser of `sage keys`."""
    top = Parser(
        prog='sage keys',
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar='COMMAND')

    def command(name, run, what):
        own = add_command(commands, name, run, what)
        own.add_argument(
            '--dir', default='', help=f'folder of keys (${ENVIRONMENT}, else {DEFAULT_FOLDER})'
        )
        return own

    own = command('create', create, 'make key pairs, and trust them here')
    own.add_argument('entities', nargs='+', metavar='ENTITY', help='for example robot1/cam0')
    own.add_argument('--rotate', action='store_true', help='replace the key that signs so far')
    command('list', show, 'show whose keys are trusted, and which were revoked')
    own = command('trust', trust, 'believe what is signed with a key')
    own.add_argument('entity', metavar='ENTITY', help='who signs with it')
    own.add_argument('key', metavar='KEY', help=f'{PREFIX}… as create and list print it')
    own = command('revoke', revoke, 'believe a key no longer')
    own.add_argument('entity', metavar='ENTITY', help='who signs with it')
    own.add_argument('key', nargs='?', metavar='KEY', help='left out: all keys of the entity')
    return top


@in_one_line('sage keys')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage keys`; return the exit code."""
    args = parser().parse_args(argv)
    args.run(key_folder(args.dir), args)
    return 0


if __name__ == '__main__':
    sys.exit(main())
