# SPDX-License-Identifier: MIT OR Apache-2.0
#
#   make demo    a whole update, a failed one and a fall-back, on a host in a directory
#   make test    every test that needs no virtual machine
#   make bench   the figures of docs/performance.md, side by side
#   make lint    formatting, clippy, licences

CARGO ?= cargo

.PHONY: all demo test bench lint needs-test needs-demo needs-bench clean

all:
	$(CARGO) build --release

needs-demo needs-test needs-bench:
	@tests/needs $(@:needs-%=%)

demo: needs-demo
	$(CARGO) build --release
	@tests/demo target/release/flipside

test: needs-test
	$(CARGO) test

bench: needs-bench
	$(CARGO) bench --bench side_by_side

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	$(CARGO) deny check licenses bans

clean:
	$(CARGO) clean
