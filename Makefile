# Everything runs in a virtual environment of its own; nothing outside this folder is touched.
#   make demo                  a real study through the whole gateway (Python 3.11 to 3.13 and make suffice)
#   make demo ARGS=--keep      the same, and leave it running to look around
#   make bench                 times beside those of other programs, as ratios (benchmarks/README.md)
#   make test                  all checks and tests (what is missing of Orthanc, dcmtk, ... is said and skipped)
#   make test-engine           those of the engine totalsegmentator alone, in a second environment of 2.5 GB
#   make test-long             those that take minutes, too

VENV := .venv
BIN := $(VENV)/bin
# Programs that are only measured and want other versions than ours.
PEERS := .venv-peers
# AWS on this machine, and its command for templates: for the tests of infra/ only. Each wants a botocore of its own.
MINISTACK := .venv-ministack
SAM := .venv-sam
CHECKOV := .venv-checkov
# What reads structure sets in radiotherapy, with an older pydicom than ours: for the tests of that output only.
RTSTRUCT := .venv-rtstruct
# The viewer that is looked into, with results in it: its pages only, 49 MB.
OHIF := .ohif
ARGS ?=

# What does not need another is done beside it: most of an installation is waiting, and types are checked by one process.
MAKEFLAGS += --jobs=2

# Where an environment says that nothing compiled is to be kept, each of the thousands of processes that the tests
# start would compile all that it loads.
unexport PYTHONDONTWRITEBYTECODE
# Test processes at once; a module's tests stay together, since they share what is slow to start. Modules come in
# their order, which puts what takes long first (viewers, container) and what is done at once last (unit).
# One more than there are processors: tests wait, too.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
IN_PARALLEL := -n $(WORKERS) --dist loadscope --no-loadscope-reorder
PYTEST_ARGS ?=

# TotalSegmentator, nnU-Net and torch: for the tests of that engine only. Newer ones of the two named in the
# middle need torchvision, which is built for CUDA only. Where pip finds a torch with CUDA first (it works, but
# takes gigabytes): PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ENGINE_VENV := .venv-engine
ENGINE_ROOTS := torch==2.13.0 nnunetv2==2.6.0 dynamic-network-architectures==0.3.1 TotalSegmentator==2.18.0 \
	pydantic pillow pytest pytest-timeout pytest-xdist

ENGINE_PYTEST := $(ENGINE_VENV)/bin/python -m pytest -c tests/engine/pytest.ini tests/engine

# The first Python of a version that we support; `make PYTHON=/path/to/python3.12 demo` names another one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& { echo $$name; break; }; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check
# Tests are found once before several processes look for them at the same time: what is loaded is compiled then.
FIND := --collect-only --quiet >/dev/null || true

.PHONY: help demo bench test test-engine test-long test-container environments compiled lint format constraints constraints-engine clean distclean
.DEFAULT_GOAL := help

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed  ## Send a real study through the whole gateway and show what comes back
	@$(BIN)/iris demo $(ARGS)

bench: $(VENV)/.installed-dev $(PEERS)/.installed  ## Measure the converter beside its peers
	$(BIN)/python -m benchmarks $(ARGS)

test: lint test-engine environments compiled  ## Every check and every test
	$(BIN)/pytest $(IN_PARALLEL) $(PYTEST_ARGS)

test-engine: $(ENGINE_VENV)/.installed  ## The tests of the engine totalsegmentator
	@$(ENGINE_PYTEST) $(FIND)
	$(ENGINE_PYTEST) $(IN_PARALLEL) $(PYTEST_ARGS)

test-long: lint environments $(SAM)/.installed compiled  ## Every test, those of minutes too, and many more made-up cases
	$(ENGINE_PYTEST) $(IN_PARALLEL) -m '' $(PYTEST_ARGS)
	$(BIN)/pytest $(IN_PARALLEL) -m '' --hypothesis-profile long --timeout 3600 $(PYTEST_ARGS)

environments: $(addsuffix /.installed,$(ENGINE_VENV) $(MINISTACK) $(CHECKOV) $(RTSTRUCT) $(OHIF)) $(VENV)/.installed-dev

compiled: $(VENV)/.installed-dev
	@$(BIN)/pytest $(FIND)

lint: $(VENV)/.installed-dev  ## Style, types and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases infra/functions
	$(BIN)/lint-imports

test-container: $(VENV)/.installed-dev  ## Build both images without Docker, and run them
	$(BIN)/pytest tests/container $(PYTEST_ARGS)

format: $(VENV)/.installed-dev  ## Put the code into the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(VENV)/.made  ## Resolve the pins anew (with the oldest Python that we support)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "make constraints needs Python 3.11: make PYTHON=python3.11 constraints" >&2; exit 1; }
	@{ echo "# Made by 'make constraints': what the base and [dev] dependencies resolve to. Do not edit."; \
		$(PIP) install --quiet --dry-run --ignore-installed --report - '.[dev]' \
		| $(BIN)/python -c 'import json, sys; print("\n".join(sorted( \
			i["metadata"]["name"].lower().replace("_", "-") + "==" + i["metadata"]["version"] \
			for i in json.load(sys.stdin)["install"] if i["metadata"]["name"] != "iris-gateway")))'; \
	} > constraints.tmp && mv constraints.tmp constraints.txt

constraints-engine: $(ENGINE_VENV)/.made  ## The same for the engine's environment
	@{ echo "# Made by 'make constraints-engine': what TotalSegmentator and its tests resolve to, on CPU. Do not edit."; \
		$(PIP) --python $(ENGINE_VENV) install --quiet --dry-run --ignore-installed --report - $(ENGINE_ROOTS) \
		| $(BIN)/python -c 'import json, sys; print("\n".join(sorted( \
			i["metadata"]["name"].lower().replace("_", "-") + "==" + i["metadata"]["version"].partition("+")[0] \
			for i in json.load(sys.stdin)["install"])))'; \
	} > constraints.tmp && mv constraints.tmp constraints-engine.txt

clean:  ## Remove caches and the demo's working folder
	rm -rf iris-demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -not -path './$(PEERS)/*' -prune -exec rm -rf {} +

distclean: clean  ## Remove the virtual environments too
	rm -rf $(VENV) $(ENGINE_VENV) $(PEERS) $(MINISTACK) $(SAM) $(CHECKOV) $(RTSTRUCT) $(OHIF)

# Stamps: installation runs again only when what it reads has changed.
# The pip that comes with Python 3.11 takes three times as long as a new one, which installs into the other
# environments, too.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(@D) \
		|| { echo "no virtual environment could be made; Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) install --quiet --upgrade pip
	@touch $@

$(ENGINE_VENV)/.made: $(VENV)/.made
	@$(BIN)/python -m venv --without-pip $(@D)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@$(PIP) install --quiet --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing into $(VENV), with what the tests need ..."
	@$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(PEERS)/.installed: benchmarks/peers.txt $(VENV)/.made
	@echo "installing into $(PEERS) what is only measured ..."
	@$(BIN)/python -m venv --without-pip $(PEERS)
	@$(PIP) --python $(PEERS) install --quiet --requirement benchmarks/peers.txt
	@touch $@

$(MINISTACK)/.installed $(SAM)/.installed $(CHECKOV)/.installed: .venv-%/.installed: tests/infra/%.txt $(VENV)/.made
	@echo "installing into $(@D) what the tests of infra/ need ..."
	@$(BIN)/python -m venv --without-pip $(@D)
	@$(PIP) --python $(@D) install --quiet --no-compile --requirement $<
	@touch $@

$(RTSTRUCT)/.installed: tests/readers/rtstruct.txt $(VENV)/.made
	@echo "installing into $(RTSTRUCT) what reads structure sets ..."
	@$(BIN)/python -m venv --without-pip $(RTSTRUCT)
	@$(PIP) --python $(RTSTRUCT) install --quiet --no-compile --requirement $<
	@touch $@

# Without npm it says so and goes on: there is no stamp then, and the tests are skipped.
$(OHIF)/.installed: tests/viewers/ohif.txt tests/viewers/fetch.py $(VENV)/.made
	@$(BIN)/python tests/viewers/fetch.py $(OHIF)

# Every package is named with its version, so nothing is resolved; what is never imported is never compiled.
$(ENGINE_VENV)/.installed: $(ENGINE_VENV)/.made constraints-engine.txt
	@echo "installing into $(ENGINE_VENV): TotalSegmentator and torch, 2.5 GB ..."
	@$(PIP) --python $(@D) install --quiet --no-deps --no-compile --requirement constraints-engine.txt
	@touch $@
