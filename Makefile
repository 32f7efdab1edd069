# Needs Python 3.11+ and make; everything else goes into .venv, at the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# What the program needs, and what its tests need besides.
PROGRAM := .venv/.program
STAMP := .venv/.installed
COMPILED := .venv/.compiled
QUICK := -m "not torture"
# Twice as many test processes as there are cores: half of the time they wait for servers and other
# processes. Each has a PostgreSQL of its own.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')

# Else each of the many processes that tests start compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check format lint types floors docs-check docs words torture bench wheel clean
.DEFAULT_GOAL := help

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Pip shows its progress where somebody watches. What is not imported is not compiled.
QUIET := $(shell [ -t 2 ] || echo --quiet)
PIP_INSTALL = install $(QUIET) --disable-pip-version-check --no-compile \
	--constraint constraints.txt --editable .
# A pip inside the venv: only where it is needed, as making one takes longer than most of the rest.
OWN_PIP = $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null \
	|| { rm -rf .venv; echo "This Python has no pip; on Debian: apt install python3-venv"; exit 1; }

# By uv where it is there, which takes a few seconds, or by a pip outside (--python came in 22.3).
$(PROGRAM): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	@echo "Installing the program and what it is built on into .venv ..."
	@if command -v uv >/dev/null; then \
		uv pip install --python $(BIN)/python --constraint constraints.txt --editable .; \
	elif $(PYTHON) -c 'import pip; assert int(pip.__version__.split(".")[0]) > 22' 2>/dev/null; then \
		$(PYTHON) -m pip --python $(BIN)/python $(PIP_INSTALL); \
	else \
		$(OWN_PIP); $(BIN)/python -m pip $(PIP_INSTALL); \
	fi
	@touch $@

$(STAMP): $(PROGRAM)
	@echo "Installing the tools of the tests into .venv ..."
	@$(OWN_PIP)
	@$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --group dev
	@# Only for the axe.min.js inside it; the browser driver that it asks for is never used.
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps axe-playwright-python
	@touch $@

demo: $(PROGRAM) ## From an empty folder to three delivered digests
	@$(BIN)/newsletter demo

# Once for all test processes: each would do it for itself, which takes longer than to collect.
$(COMPILED): $(STAMP)
	@$(BIN)/python -m pytest --collect-only --quiet $(QUICK) >/dev/null 2>&1 || true
	@touch $@

test: $(COMPILED) ## Every test but torture: SQLite, PostgreSQL, real SMTP, a browser
	@$(BIN)/python -m pytest $(QUICK) -n $(JOBS) --dist loadgroup

check: $(STAMP) ## All that CI asks: format, lint, types, floors, docs, tests
	@$(MAKE) --no-print-directory --jobs=2 format lint types floors docs-check test

format: $(STAMP)
	@$(BIN)/ruff format --check .

lint: $(STAMP)
	@$(BIN)/ruff check .

types: $(STAMP)
	@$(BIN)/mypy

floors: $(STAMP)
	@$(BIN)/lint-imports --no-logo

docs-check: $(STAMP)
	@$(BIN)/python docs/generate.py --check

docs: $(STAMP) ## Write the generated pages: settings, commands, templates, logs, metrics
	@$(BIN)/python docs/generate.py

words: $(STAMP) ## Collect the words of the templates into the catalogues of templates/locale
	@$(BIN)/python docs/translate.py

torture: $(STAMP) ## The long crash and fault runs
	@$(BIN)/python -m pytest -m "torture or repeated" --hypothesis-profile torture

bench: $(STAMP) ## Measure speed and memory side by side; writes docs/performance.md
	@PYTHONPATH=tests/support $(BIN)/python tests/benchmarks/bench.py

wheel: $(STAMP) ## Build the wheel into dist/
	@$(BIN)/python -m hatchling build -t wheel

clean: ## Remove what make made
	@rm -rf .venv dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
