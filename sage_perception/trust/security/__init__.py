# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Keys, canonical form, signatures, admission, replay protection and rate limits."""
