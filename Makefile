# Python 3.11 or newer with pip, and make: nothing else is needed, no root, no service.
# `make demo` and `make test` set themselves up in .venv; the second time that costs nothing.

SHELL         := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready
PINS   := requirements.txt requirements-dev.txt constraints.txt
PYTEST := $(RUN) -m pytest -q

# The newest of these that runs, is 3.11 or newer and has a way to install packages, looked for once and only when
# it is needed; `make PYTHON=/path/to/python3 test` overrides.
USABLE := import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or not (u.find_spec("pip") or u.find_spec("ensurepip")))
SEARCH  = for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c '$(USABLE)' 2>/dev/null && echo "$$python" && break; done
PYTHON ?= $(eval PYTHON := $(shell $(SEARCH)))$(PYTHON)

INSTALL := install --quiet --disable-pip-version-check --root-user-action=ignore -r requirements-dev.txt -c constraints.txt

.PHONY: help setup demo up test check lint types architecture proof chaos bench clean

help:  ## this list
	@echo "make demo and make test set everything up by themselves, inside $(VENV)."
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

setup: $(READY)  ## install the pinned dependencies into .venv
	@echo "$(VENV) is ready"

demo: $(READY)  ## 500 transfers, two protocols, two providers that lie; then every cent is accounted for
	@$(RUN) -m bridge demo

up: $(READY)  ## bridge, jobs and two simulators on this machine; prints addresses, a key and a line to try
	@$(RUN) -m bridge up

test: $(READY)  ## every test, on SQLite and on PostgreSQL
	@$(PYTEST) -n 2

check: lint types architecture  ## what the build does: lint, types, architecture, make test
	@$(MAKE) --no-print-directory test

lint: $(READY)  ## ruff
	@$(RUN) -m ruff check .

types: $(READY)  ## mypy --strict
	@$(RUN) -m mypy

architecture: $(READY)  ## who may import whom, and what a file may look like
	@$(PYTEST) tests/test_architecture.py

proof: $(READY)  ## docs/proof.md: each claim and its tests, and 50 planted bugs that must be caught
	@$(RUN) -m tests.proof

chaos: $(READY)  ## SIGKILL at every commit and call, 200 at once, SIGSTOP: on both databases
	@$(RUN) -m tests.chaos

bench: $(READY)  ## side by side with peers in one run
	@$(RUN) -m benchmarks

clean:  ## remove .venv and what tools left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Three ways to an environment inside this folder, the usual one first. Some distributions ship Python without
# ensurepip, so that `python3 -m venv` fails: then the machine's own pip fills an empty environment from outside.
# Where there is no venv at all, the packages go into a folder and .venv/bin/python is a launcher that finds them.
$(READY): $(PINS)
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(USABLE)' || { \
		echo "Python 3.11 or newer with pip is needed and was not found; name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version), once"
	@rm -rf $(VENV)
	@if $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 && $(RUN) -m pip --version >/dev/null 2>&1; then \
		$(RUN) -m pip $(INSTALL); \
	elif rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) >/dev/null 2>&1; then \
		$(PYTHON) -m pip --python $(RUN) $(INSTALL); \
	else \
		rm -rf $(VENV) && mkdir -p $(VENV)/bin && \
		$(PYTHON) -m pip $(INSTALL) --target $(VENV)/lib && \
		{ echo '#!/bin/sh'; \
		  echo 'here=$$(cd "$$(dirname "$$0")/.." && pwd)'; \
		  echo 'PYTHONNOUSERSITE=1 PYTHONPATH="$$here/lib$${PYTHONPATH:+:$$PYTHONPATH}" exec "'"$$(command -v $(PYTHON))"'" "$$@"'; \
		} > $(RUN) && chmod +x $(RUN); \
	fi
	@$(RUN) -c 'import flask, psycopg, pytest, sqlmodel'
	@touch $(READY)
