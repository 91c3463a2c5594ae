# Everything here sets itself up: it needs Python 3.11 or later, make, and the network once.
#
#   make demo ARGS="--help"      pass options on
#   make test PYTHON=python3.12  choose the interpreter that .venv is made with
#   make test WORKERS=0          run the tests in one process, as a debugger wants
#   make bench ONLY=finn2017     one benchmark instead of all

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
.PHONY: help demo test lint format bench table lock setup clean

# Tried in this order when PYTHON is not given; the first that is new enough is taken.
PYTHON ?=
PYTHONS = python3 python3.14 python3.13 python3.12 python3.11 python

VENV = .venv
BIN = $(VENV)/bin
# Newer than the lock and pyproject.toml exactly when .venv holds what they ask for.
READY = $(VENV)/.ready
ARGS ?=
ONLY ?=
WORKERS ?= 2
UV ?= uv
# All but envpool, whose 300 MB every first `make test` would have to fetch, and metaworld, which wants
# an older MuJoCo.
EXTRAS = dev film gym mujoco gymnax parquet postgresql tensorboard web

# The tests compile the same programs run after run, and nearly all of their time is that.
CACHE = JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.cache/jax"

# What the first run says about itself, and later runs leave out.
SETUP_NOTE = if [ ! -e $(READY) ]; then \
	echo "First, once: install the locked packages into $(VENV) (1 to 4 minutes, mostly downloads)."; fi

help: ## say what there is
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## meta-train, teach tasks never seen with ten answers each, and write a report
	@echo "make demo: meta-train on a family of tasks, then teach each of some tasks never seen with ten"
	@echo "answers, and compare that with learning from scratch. About three minutes on two cores; the report"
	@echo "goes to runs/demo. Begun before, it goes on where it stopped."
	@$(SETUP_NOTE)
	@$(MAKE) --silent $(READY)
	@$(BIN)/metarlhf demo --run-dir runs/demo $$([ -d runs/demo ] && echo --resume) $(ARGS)

test: ## lint, check types and floors, and run all tests
	@echo "make test: style, types, floors, then all tests in $(WORKERS) processes. Up to 15 minutes on two"
	@echo "cores the first time; much less once .cache/jax holds the compiled programs."
	@$(SETUP_NOTE)
	@$(MAKE) --silent $(READY)
	@$(MAKE) --no-print-directory lint
	$(CACHE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(READY) ## style, types and floors, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(READY) ## lay the code out as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: ## measure every row of the README's table (hours), or ONLY=row
	@echo "make bench: measure $(if $(ONLY),$(ONLY),every row), into benchmarks/results. Some rows take an hour on"
	@echo "two cores; leave the machine alone meanwhile, for the times to mean something."
	@$(SETUP_NOTE)
	@$(MAKE) --silent $(READY)
	@$(BIN)/python -m benchmarks $(ONLY) $(ARGS)
	@$(BIN)/python -m benchmarks.table

table: $(READY) ## write the README's table anew from benchmarks/results
	@$(BIN)/python -m benchmarks.table

lock: ## resolve requirements.lock anew from pyproject.toml (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: 'pip install uv', or make lock UV=path/to/uv." >&2; exit 2; }
	$(UV) pip compile pyproject.toml $(EXTRAS:%=--extra %) --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" $(ARGS) --quiet --output-file requirements.lock

setup: $(READY) ## only make .venv

# The package itself goes in last and without isolation: the build backend is the locked one, so
# nothing is fetched whose hash has not been checked.
$(READY): requirements.lock pyproject.toml
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
		for name in $(PYTHONS); do \
			if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
		done; \
	fi; \
	if [ -z "$$python" ] || ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "MetaRLHF needs Python 3.11 or later; found: $$("$${python:-python3}" --version 2>/dev/null || echo none)." >&2; \
		echo "Install one, or name it: make TARGET PYTHON=/path/to/python3" >&2; exit 2; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Making $(VENV) with $$("$$python" --version)."; \
		"$$python" -m venv --clear $(VENV) || { \
			echo "Python's venv module does not work here. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
			exit 2; }; \
	fi
	@echo "Installing the packages of requirements.lock into $(VENV): some 300 MB, 1 to 4 minutes."
	@export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore; \
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch $@

clean: ## remove .venv and caches; runs and results stay
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
