# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage keys`: create signing keys and manage the trusted keys."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.cli.terminal import Parser, add_command, examples, report_errors
from sage_perception.trust.security.keys import (
    DEFAULT_FOLDER,
    ENVIRONMENT,
    PREFIX,
    KeyFault,
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
Manage the keys that sign LCTs. An entity, such as robot1/cam0, signs its LCTs with a secret key.
A receiver accepts the LCTs of the entities whose public keys it trusts.

Let two robots trust each other:
  on robot1   sage keys create robot1/cam0 robot1/cam1
  on robot2   sage keys trust robot1/cam0 ed25519:…    as printed by create
              sage keys trust robot1/cam1 ed25519:…
  and the same in the other direction. Transfer keys on a channel that is protected against
  changes, such as ssh or a USB stick.

Replace a key without interruption:
  on robot1   sage keys create robot1/cam0 --rotate    the node of robot1/cam0 signs with the old
                                                       key until it restarts
  on robot2   sage keys trust robot1/cam0 ed25519:…    both keys are trusted now
  then restart the node of robot1/cam0, and on both robots
              sage keys revoke robot1/cam0 ed25519:…   the old key

If a secret key was disclosed, run sage keys revoke robot1/cam0 on every robot. Running nodes
apply it within a second. A revoked key can never be trusted again.

Keys are in {DEFAULT_FOLDER}, unless --dir or the variable {ENVIRONMENT} names another folder:
ENTITY.key is a secret key and must not leave the machine; trusted.json has the trusted keys.
"""


def create(folder: Path, args: argparse.Namespace) -> None:
    """Create key pairs, trust them on this machine, and print how to trust them on others."""
    store, entities = TrustStore(folder), dict.fromkeys(args.entities)
    if not args.rotate:
        for entity in entities:
            require_no_key(folder, entity)
    for entity in entities:
        key = Ed25519PrivateKey.generate()
        public = public_bytes(key)
        # A key that cannot be saved must not be trusted.
        path = save_key(folder, entity, key, args.rotate, partial(store.trust, entity, public))
        print(f'{entity} signs with {path} and is trusted here. On other machines, run')
        print(f'  sage keys trust {shlex.quote(entity)} {key_text(public)}')


def show(folder: Path, args: argparse.Namespace) -> None:
    """Print one line for each key."""
    store = TrustStore(folder, inspect=True)
    if store.fault:
        print(f'warning: nodes do not use these keys: {store.fault}')
    if not store.entities:
        print(f'no keys in {folder}: run sage keys create ENTITY')
    for entity, keys in sorted(store.entities.items()):
        try:
            own = None if store.fault else _own_key(folder, entity)
        except KeyFault as error:
            print(f'warning: nodes do not use the key of {entity}: {error}')
            own = None
        for key in keys:
            state = f'revoked {key.revoked}' if key.revoked else f'trusted since {key.added}'
            print(f'{entity}  {key}  {state}{", signs here" if key.public == own else ""}')


def trust(folder: Path, args: argparse.Namespace) -> None:
    """Trust a key."""
    key = TrustStore(folder).trust(args.entity, read_key_text(args.key))
    print(f'trusted {key} of {args.entity}')


def revoke(folder: Path, args: argparse.Namespace) -> None:
    """Revoke one key of an entity, or all of its keys."""
    store = TrustStore(folder)
    for key in store.revoke(args.entity, args.key and read_key_text(args.key)):
        print(f'revoked {key} of {args.entity}')
    if not any(not key.revoked for key in store.keys_of(args.entity)):
        print(f'{args.entity} has no valid key left: its LCTs are rejected')


def _own_key(folder: Path, entity: str) -> bytes | None:
    """Return the public key that an entity signs with on this machine; None without one."""
    if not key_path(folder, entity).exists():
        return None
    return public_bytes(load_key(folder, entity))


def parser() -> Parser:
    """Return the parser of `sage keys`."""
    top = Parser(
        prog='sage keys',
        description=HELP,
        epilog=examples('sage keys create cam0 cam1 arbiter', 'sage keys list'),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar='COMMAND')

    def command(
        name: str, run: Callable[[Path, argparse.Namespace], None], description: str
    ) -> argparse.ArgumentParser:
        own = add_command(commands, name, run, description)
        own.add_argument(
            '--dir',
            default='',
            help=f'key folder (default: ${ENVIRONMENT}, else {DEFAULT_FOLDER})',
        )
        return own

    own = command('create', create, 'create key pairs, and trust them on this machine')
    own.add_argument('entities', nargs='+', metavar='ENTITY', help='for example robot1/cam0')
    own.add_argument('--rotate', action='store_true', help='replace the existing signing key')
    command('list', show, 'list the trusted and revoked keys')
    own = command('trust', trust, 'trust a key of an entity')
    own.add_argument('entity', metavar='ENTITY', help='entity that signs with the key')
    own.add_argument('key', metavar='KEY', help=f'{PREFIX}…, as printed by create and list')
    own = command('revoke', revoke, 'revoke a key of an entity')
    own.add_argument('entity', metavar='ENTITY', help='entity that signs with the key')
    own.add_argument('key', nargs='?', metavar='KEY', help='default: all keys of the entity')
    return top


@report_errors('sage keys')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage keys`; return the exit code."""
    args = parser().parse_args(argv)
    args.run(key_folder(args.dir), args)
    return 0
