# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""H contexts: 4096-D descriptions of the recent observations of all cameras (docs/context.md)."""
