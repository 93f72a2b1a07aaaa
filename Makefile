# Everything a developer types; `make` alone lists it. Each target sets up what it needs; the virtual environment is .venv.
#
# Tests that draw have fixed seeds, Hypothesis too: `make test` has the same outcome each time. `make test SEED=draw`
# draws one for all of them (that sets ASKBOT_TEST_SEED, see tests/seeds.py) and says which; SEED=N is that one again.
# `make chaos`, `make soak` and `make walk` draw theirs, and take SEED=N; so does `make chaos-cluster`, which takes
# SECONDS=N too. `make attack` has a fixed seed, and takes SEED=N and SECONDS=N.

# Of one minor version, the system's Python is quicker than what pyenv builds, by a fifth for a server: docs/deploy.md.
SYSTEM_PYTHON ?= /usr/bin/python3
VERSION_WITH_VENV := import ensurepip, sys; print(sys.version_info[:2])
PYTHON ?= $(shell system="$$($(SYSTEM_PYTHON) -c '$(VERSION_WITH_VENV)' 2>/dev/null)"; test -n "$$system" && \
	test "$$system" = "$$(python3 -c '$(VERSION_WITH_VENV)' 2>/dev/null)" && echo $(SYSTEM_PYTHON) || echo python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
COVERAGE := $(BIN)/python -m coverage
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS ?= $(shell expr 2 '*' $(CORES))
BESIDE := --dist loadfile --no-loadscope-reorder --numprocesses
TIMED = $(shell grep -rl --include='test_*.py' 'mark\.timed\b' tests)
YIELDING := $(shell chrt --idle 0 true 2>/dev/null && echo chrt --idle 0 || echo nice -n 19)
SEEDED = $(if $(filter-out draw,$(SEED)),--seed $(SEED))
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

export PYTHONDONTWRITEBYTECODE =  # empty: each of the hundred processes of the tests would compile all modules anew

ifdef SEED
export ASKBOT_TEST_SEED := $(SEED)
endif

.DEFAULT_GOAL := help
.PHONY: help serve cluster setup test test-fast check docs bench bench-quick chaos chaos-cluster soak walk attack pictures canary fix generate clean

help:  ## This list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: .venv/.serve.stamp  ## Serve the page and the socket on http://127.0.0.1:8765
	@exec $(BIN)/askbot serve

cluster: .venv/.cluster.stamp  ## Serve with three nodes, a Redis and nginx in front (NODES=5, PORT=8766)
	@exec $(BIN)/python -m tests.cluster $(if $(NODES),--nodes $(NODES)) $(if $(PORT),--port $(PORT))

setup: .venv/.serve.stamp .venv/.dev.stamp .venv/.browser.stamp .venv/.node.stamp client/page/bundle.js  ## Only set up

test: setup  ## All tests: Python with branch coverage, JavaScript, the browser
	$(COVERAGE) erase
	@mkdir -p test-artefacts
	@# What only computes takes what the others leave of the processor, and a little more: it would be at work alone when
	@# all others have ended. Coverage is measured in these two parts. Once both have ended, it is added up, and times are
	@# measured, which leaves a core free for the rest. Of all that runs beside others, the output is shown at the end.
	nice -n 15 $(COVERAGE) run -m pytest -m patient -o timeout=1200 > test-artefacts/patient.txt 2>&1 & patient=$$!; \
	$(COVERAGE) run -m pytest -m "not timed and not patient and not beside_timed" $(BESIDE) $(WORKERS); status=$$?; \
	$(YIELDING) $(PYTEST) -m beside_timed $(BESIDE) $(CORES) > test-artefacts/beside-timed.txt 2>&1 & beside_timed=$$!; \
	$(YIELDING) $(BIN)/node --test 'tests/js/*.test.js' > test-artefacts/javascript.txt 2>&1 & javascript=$$!; \
	wait $$patient || status=$$?; \
	{ $(YIELDING) $(COVERAGE) combine --quiet && $(YIELDING) $(COVERAGE) report --skip-covered --fail-under=90; } \
		> test-artefacts/coverage.txt 2>&1 & coverage=$$!; \
	$(PYTEST) -m timed $(TIMED) || status=$$?; \
	wait $$javascript || status=$$?; \
	wait $$beside_timed || status=$$?; \
	wait $$coverage || status=$$?; \
	cd test-artefacts && cat javascript.txt beside-timed.txt patient.txt coverage.txt; exit $$status

test-fast: .venv/.serve.stamp .venv/.dev.stamp  ## The tests in Python that take half a minute together, without coverage
	$(PYTEST) -m 'not slow' $(BESIDE) $(WORKERS)

check: .venv/.serve.stamp .venv/.dev.stamp  ## Lint, types, contracts, docstrings, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports
	$(BIN)/python tools/docstrings.py
	$(BIN)/python tools/samples.py
	$(BIN)/python tools/completeness.py
	$(BIN)/python tools/generate.py --check

docs: .venv/.serve.stamp .venv/.dev.stamp  ## The pages of docs/ as a site in site/
	$(BIN)/zensical build --strict --clean

bench: .venv/.serve.stamp .venv/.dev.stamp  ## What it costs, beside others: docs/performance.md (40 minutes)
	$(BIN)/python -m bench.run

bench-quick: .venv/.serve.stamp .venv/.dev.stamp  ## The ratios that matter; fails where one is worse than it must be
	$(BIN)/python -m bench.quick

chaos: setup  ## Ten minutes of everything going wrong, and a table of it
	$(BIN)/python -m tests.chaos --write docs/reliability.md $(SEEDED)

chaos-cluster: setup  ## Everything going wrong between three nodes and Redis, and a table of it
	$(BIN)/python -m tests.nodes.model
	$(BIN)/python -m tests.chaos.cluster --write docs/reliability.md --seconds $(or $(SECONDS),600) $(SEEDED)

soak: setup  ## An hour of mixed traffic in which nothing may grow
	$(BIN)/python -m tests.chaos.soak --seconds 3600 $(SEEDED)

walk: setup  ## An hour of the hub over a real SQLite store, with faults of disk, sync, clock and other programs
	$(BIN)/python -m tests.walk --seconds 3600 $(SEEDED)

attack: .venv/.serve.stamp .venv/.dev.stamp  ## An hour of what a stranger with a raw socket could do, beside honest users
	$(BIN)/python -m tests.attack --seconds $(or $(SECONDS),3600) $(SEEDED)

pictures: .venv/.dev.stamp .venv/.browser.stamp  ## README's pictures, and each state of page and element in test-artefacts/
	$(BIN)/python -m tests.browser.pictures $(ONLY)

canary: .venv/.serve.stamp .venv/.dev.stamp  ## Do the newest websockets and uvicorn do? The next make has the pinned ones again
	rm -f .venv/.*.stamp
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade websockets uvicorn
	$(BIN)/python -m pip list | grep -E '^(websockets|uvicorn) '
	$(PYTEST) tests/server/test_internals.py tests/server

fix: .venv/.serve.stamp .venv/.dev.stamp  ## Whatever can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python tools/generate.py

generate: .venv/.serve.stamp  ## The files that are made from the code
	$(BIN)/python tools/generate.py

clean:  ## As freshly cloned
	rm -rf .venv dist site .cache client/page/bundle.js tests/js/node_modules examples/react/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* test-artefacts

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "askbot-ws needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv is missing; on Debian: apt-get install python3-venv"; exit 1; }

# The embedded model is not fetched where an API is set: it would not be asked.
.venv/.serve.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	[ -n "$$OPENAI_API_KEY$$OPENAI_BASE_URL" ] || $(BIN)/askbot model install
	@touch $@

.venv/.cluster.stamp: pyproject.toml constraints.txt .venv/.serve.stamp tests/programs.py
	$(PIP) --editable '.[redis]'
	$(BIN)/python -m tests.programs cluster
	@touch $@

.venv/.dev.stamp: pyproject.toml constraints.txt .venv/.serve.stamp
	$(PIP) --editable '.[dev]'
	$(BIN)/askbot model install
	@touch $@

.venv/.browser.stamp: .venv/.dev.stamp
	$(BIN)/python -m tests.programs
	@touch $@

client/page/bundle.js: $(filter-out client/page/bundle.js,$(wildcard client/*.js client/page/*.js)) tools/bundle.py .venv/.node.stamp
	$(BIN)/python tools/bundle.py

.venv/.node.stamp: tests/js/package.json examples/react/package.json .venv/.dev.stamp
	cd tests/js && PATH="$(CURDIR)/$(BIN):$$PATH" npm install --no-package-lock --no-audit --no-fund --silent
	cd examples/react && PATH="$(CURDIR)/$(BIN):$$PATH" npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@
