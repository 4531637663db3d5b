#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Sourced before the root is mounted: in doubt this boot ends.

/usr/lib/flipside/initrd check || die 'flipside: the booted slot cannot be told'
