# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Upper bounds of the fields of LCTs and announcements; most are the bounds in `sage_msgs`."""

MAX_TEXT_BYTES = 64  # of an entity id, or of a model's name or version, in UTF-8
MAX_DIMENSIONS = 4096  # of a latent
MAX_ENERGIES = 256  # in an energy trajectory
MAX_PAYLOAD_BYTES = 16384  # of a packed latent
SIGNATURE_BYTES = 64  # Ed25519, RFC 8032
DIGEST_BYTES = 32  # SHA-256
# The absolute value of an element of a latent. Latents of a trained model stay within some tens of
# standard deviations.
MAX_ABS = 1e4
# Steps of provenance. `sage_msgs/LCT` holds MAX_STEPS; a received LCT may have MAX_CHAIN, because
# an arbiter that translates and fuses it adds two or more.
MAX_STEPS = 16
MAX_CHAIN = 14
MAX_CODES = 7  # codes of an observation besides its latent
MAX_ARRAY = 64  # LCTs in an array
MAX_PATH = 6  # digests from an LCT to the root of its array
MAX_FRAME_ID_BYTES = 255
