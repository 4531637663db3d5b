# SPDX-License-Identifier: MIT OR Apache-2.0
#
#   make demo           a whole update, a failed one and a fall-back, on a host in a directory
#   make test           every test that needs no virtual machine
#   make test-crash     every state of the crash test, of which `make test` takes a part
#   make test-vm        on real firmware with a real systemd, in QEMU; as root
#   make test-vm-small  a few of these
#   make package        .deb and .rpm, in debian and generate-rpm of cargo's target directory
#   make install        the same files under DESTDIR and prefix
#   make bench          the figures of docs/performance.md, side by side
#   make bench PAIR=1   the same on two Debian systems and images of 8 GiB; as root
#   make lint           formatting, clippy, licences, advisories where their database can be had

CARGO ?= cargo
TARGET = $${CARGO_TARGET_DIR:-target}

.PHONY: all demo test test-crash test-vm test-vm-small package install bench lint needs-test needs-vm needs-demo needs-bench needs-package clean

all:
	$(CARGO) build --release

needs-demo needs-test needs-vm needs-bench needs-package:
	@tests/needs $(@:needs-%=%)

demo: needs-demo
	$(CARGO) build --release
	@tests/demo $(TARGET)/release/flipside

test: needs-test
	$(CARGO) test --workspace

test-crash: needs-test
	$(CARGO) test --test crash -- --all

# Guests have flipside from its package.
test-vm: needs-vm needs-package
	FORMATS=deb packaging/build
	$(CARGO) test --test vm

# With the program that `make test` has built already.
test-vm-small: needs-vm needs-package
	$(CARGO) build
	BINARY=$(TARGET)/debug/flipside FORMATS=deb packaging/build
	$(CARGO) test --test vm -- --small

package: needs-package
	packaging/build

install: all
	$(CARGO) run --example generate -- target/package/generated
	packaging/install $(TARGET)/release/flipside target/package/generated

bench: needs-bench
	$(CARGO) bench --bench side_by_side

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --workspace --no-default-features -- -D warnings
	$(CARGO) deny check licenses bans sources
	@if $(CARGO) deny fetch db; then $(CARGO) deny check --disable-fetch advisories; \
	else echo "lint: the advisory database cannot be fetched: advisories were not checked" >&2; fi

clean:
	$(CARGO) clean
