#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Sourced once the root is mounted, before anything of it is run: the machine ID that outlives the
# slots takes its place.

# shellcheck disable=SC2154
/usr/lib/flipside/initrd machine-id "$NEWROOT"
