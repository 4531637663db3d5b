#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Sourced while the root has not appeared: what only the disks can tell.

if /usr/lib/flipside/initrd is-boot && [ ! -e /dev/flipside/system ]; then
    /usr/lib/flipside/initrd settle
    [ $? -ne 3 ] || die 'flipside: the booted slot cannot be told'
fi
