# Python 3.11 or newer with pip, and make: nothing else is needed, no root, no service.
# `make demo` and `make test` set themselves up in .venv; the second time that costs nothing.

SHELL         := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready
PINS   := requirements.txt requirements-traces.txt requirements-dev.txt constraints.txt
PYTEST := $(RUN) -m pytest -q

# The newest of these that runs, is 3.11 or newer and has a way to install packages, looked for once and only when
# it is needed; `make PYTHON=/path/to/python3 test` overrides.
USABLE := import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or not (u.find_spec("pip") or u.find_spec("ensurepip")))
SEARCH  = for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c '$(USABLE)' 2>/dev/null && echo "$$python" && break; done
PYTHON ?= $(eval PYTHON := $(shell $(SEARCH)))$(PYTHON)

INSTALL := install --quiet --disable-pip-version-check --root-user-action=ignore -c constraints.txt

# What drives a browser has an environment of its own, and so has what the benchmarks measure beside the bridge.
BROWSER       := .venv-browser
BROWSER_READY := $(BROWSER)/.ready
BROWSER_PINS  := requirements-dev.txt requirements.txt tests/browser/requirements.txt constraints.txt

PEERS       := .venv-bench
PEERS_READY := $(PEERS)/.ready
PEERS_PINS  := requirements.txt benchmarks/requirements-peers.txt benchmarks/package.json constraints.txt

.PHONY: help setup demo up test test-browser check lint types architecture simulate proof chaos bench bench-desk clean

help:  ## this list
	@echo "make demo and make test set everything up by themselves, inside $(VENV)."
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

setup: $(READY)  ## install the pinned dependencies into .venv
	@echo "$(VENV) is ready"

demo: $(READY)  ## 500 transfers, two protocols, two providers that lie; then every cent is accounted for
	@$(RUN) -m bridge demo

up: $(READY)  ## bridge, jobs and two simulators on this machine; prints addresses, a key and a line to try
	@$(RUN) -m bridge up

test: $(READY)  ## every test, on SQLite and on PostgreSQL
	@$(PYTEST) -n 3

test-browser: $(BROWSER_READY)  ## the desk in a real browser: Chromium, from your system's packages
	@$(BROWSER)/bin/python -m pytest -q tests/browser

check: lint types architecture simulate  ## what the build does: lint, types, architecture, new seeds, make test
	@$(MAKE) --no-print-directory test

lint: $(READY)  ## ruff
	@$(RUN) -m ruff check .

types: $(READY)  ## mypy --strict
	@$(RUN) -m mypy

architecture: $(READY)  ## who may import whom, and what a file may look like
	@$(PYTEST) tests/test_architecture.py

simulate: $(READY)  ## the real bridge on virtual time: 2,000 seeds that nobody has seen, by the commit
	@$(RUN) -m bridge simulate --seeds 2000

proof: $(READY)  ## docs/proof.md: each claim and its tests, and planted bugs that must be caught
	@$(RUN) -m tests.proof

chaos: $(READY)  ## SIGKILL at every commit and call, 200 at once, SIGSTOP: on both databases
	@$(RUN) -m tests.chaos

bench: $(READY) $(PEERS_READY)  ## side by side with peers in one run: docs/benchmarks.md (QUICK=1: ten minutes, into .bench/)
	@$(RUN) -m benchmarks

bench-desk: $(READY)  ## pages of /ops over a million transfers: docs/desk-speed.md (DESK_TRANSFERS, DESK_ORPHANS)
	@$(RUN) -m benchmarks.desk

clean:  ## remove the environments and what tools left behind
	rm -rf $(VENV) $(BROWSER) $(PEERS) .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Three ways to an environment inside this folder, the usual one first. Some distributions ship Python without
# ensurepip, so that `python3 -m venv` fails: then the machine's own pip fills an empty environment from outside.
# Where there is no venv at all, the packages go into a folder and its bin/python is a launcher that finds them.
# $(1): the folder, $(2): the files of requirements.
define environment
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(USABLE)' || { \
		echo "Python 3.11 or newer with pip is needed and was not found; name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@echo "setting up $(1) with $$($(PYTHON) --version), once"
	@rm -rf $(1)
	@if $(PYTHON) -m venv $(1) >/dev/null 2>&1 && $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
		$(1)/bin/python -m pip $(INSTALL) $(2); \
	elif rm -rf $(1) && $(PYTHON) -m venv --without-pip $(1) >/dev/null 2>&1; then \
		$(PYTHON) -m pip --python $(1)/bin/python $(INSTALL) $(2); \
	else \
		rm -rf $(1) && mkdir -p $(1)/bin && \
		$(PYTHON) -m pip $(INSTALL) $(2) --target $(1)/lib && \
		{ echo '#!/bin/sh'; \
		  echo 'here=$$(cd "$$(dirname "$$0")/.." && pwd)'; \
		  echo 'PYTHONNOUSERSITE=1 PYTHONPATH="$$here/lib$${PYTHONPATH:+:$$PYTHONPATH}" exec "'"$$(command -v $(PYTHON))"'" "$$@"'; \
		} > $(1)/bin/python && chmod +x $(1)/bin/python; \
	fi
endef

$(READY): $(PINS)
	$(call environment,$(VENV),-r requirements-dev.txt)
	@$(RUN) -c 'import flask, psycopg, pytest, sqlmodel'
	@touch $(READY)

$(BROWSER_READY): $(BROWSER_PINS)
	$(call environment,$(BROWSER),-r requirements-dev.txt -r tests/browser/requirements.txt)
	@touch $(BROWSER_READY)

# A peer that cannot be installed stops nothing: the page tells what it said when it was started. Restate's server comes
# from npm; where there is none, the page says so.
$(PEERS_READY): $(PEERS_PINS)
	$(call environment,$(PEERS),-r requirements.txt -r benchmarks/requirements-peers.txt)
	@mkdir -p $(PEERS)/npm && cp benchmarks/package.json $(PEERS)/npm/ && \
		npm install --prefix $(PEERS)/npm --ignore-scripts --no-audit --no-fund --silent || \
		echo "Restate's server was not installed: the page will tell"
	@touch $(PEERS_READY)
