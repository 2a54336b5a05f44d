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
# What pins packages, looks for known vulnerabilities and risky code, lists what is in a package, and makes the site of
# the documentation.
TOOLS := .venv-tools
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

# TotalSegmentator, nnU-Net and torch: for the tests of that engine, and the same for the image. Newer ones of the
# two named in the middle need torchvision, which is built for CUDA only. torch alone differs between CI (for CPU,
# of its own index: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu) and the image (with CUDA).
ENGINE_VENV := .venv-engine
ENGINE_ROOTS := nnunetv2==2.6.0 dynamic-network-architectures==0.3.1 TotalSegmentator==2.18.0 \
	boto3 pydantic pillow pytest pytest-timeout pytest-xdist
# CUDA 12 of whatever minor version runs with drivers from 525 on: Debian 12 has 535, AWS's machines newer ones.
# torch 2.9 is slow with networks in three dimensions, and from 2.11 on torch has CUDA 13, which wants driver 580.
TORCH_WITH_CUDA := torch==2.8.0

ENGINE_PYTEST := $(ENGINE_VENV)/bin/python -m pytest -c tests/engine/pytest.ini tests/engine

# The first Python of a version that we support; `make PYTHON=/path/to/python3.12 demo` names another one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& { echo $$name; break; }; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check
# Only files whose hashes are known: of whatever is pinned, and in a constraints file everything is.
INSTALL := install --quiet --no-compile --require-hashes
EDITABLE := install --quiet --no-compile --no-deps --build-constraint constraints.txt --editable .
PIN := $(TOOLS)/bin/uv pip compile --quiet --generate-hashes --no-annotate --custom-compile-command
NAMES := sed -n 's/^\([a-z0-9][^ ;]*==[^ ;]*\).*/\1/p'
TORCH_FAMILY := ^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==
# Beside the newest wheel.
LIST_NEEDED = $(PIN) 'make wheel' --universal --python-version 3.11 --constraint constraints.txt pyproject.toml \
	| $(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible - \
	>"$$(ls -t dist/iris_gateway-*.whl | head -n 1 | sed 's/\.whl$$/.cdx.json/')"
# Tests are found once before several processes look for them at the same time: what is loaded is compiled then.
FIND := --collect-only --quiet >/dev/null || true

.PHONY: help demo bench test test-engine test-long test-container environments compiled lint audit format docs wheel release \
	constraints constraints-engine constraints-tools clean distclean
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

environments: $(addsuffix /.installed,$(ENGINE_VENV) $(MINISTACK) $(CHECKOV) $(RTSTRUCT) $(OHIF) $(TOOLS)) $(VENV)/.installed-dev

compiled: $(VENV)/.installed-dev
	@$(BIN)/pytest $(FIND)

lint: $(VENV)/.installed-dev $(TOOLS)/.installed  ## Style, types, who may import whom, and what is risky
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases infra/functions
	$(BIN)/lint-imports
	$(TOOLS)/bin/bandit --quiet -ll --configfile pyproject.toml --recursive gateway converter batch_job infra/functions

audit: $(TOOLS)/.installed  ## Known vulnerabilities of whatever is pinned, where the package index knows them
	$(TOOLS)/bin/python container/audit.py $(TOOLS)/bin/pip-audit constraints.txt constraints-engine.txt constraints-tools.txt \
		container/constraints-cpu.txt container/constraints-cuda.txt container/pip.txt

docs: $(TOOLS)/.installed  ## The documentation as a site: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(TOOLS)/bin/mkdocs build --strict --quiet

wheel: $(TOOLS)/.installed  ## The package, and what it needs as a list (CycloneDX), in dist/
	$(PIP) wheel --quiet --no-deps --build-constraint constraints.txt --wheel-dir dist .
	$(LIST_NEEDED)

release: $(TOOLS)/.installed  ## Wheel, sdist and list of contents of a clean clone, tried; cuts the change log
	@$(BIN)/python container/release.py
	@$(LIST_NEEDED)

test-container: $(VENV)/.installed-dev  ## Build both images without Docker, and run them
	$(BIN)/pytest tests/container $(PYTEST_ARGS)

format: $(VENV)/.installed-dev  ## Put the code into the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(TOOLS)/.installed  ## Resolve the pins anew, for every Python that we support
	$(PIN) 'make constraints' --upgrade --universal --fork-strategy fewest --python-version 3.11 --extra aws --extra otel --extra dev \
		pyproject.toml --output-file constraints.txt

constraints-engine: $(TOOLS)/.installed  ## The same for the engine, and for torch with CUDA
	echo $(ENGINE_ROOTS) torch | tr ' ' '\n' | $(PIN) '' --upgrade --no-header --constraint constraints.txt \
		--constraint container/constraints-cpu.txt --python-version 3.11 --python-platform x86_64-manylinux_2_28 - \
		| $(NAMES) | grep -Ev '$(TORCH_FAMILY)' \
		| $(PIN) 'make constraints-engine' --universal --python-version 3.11 --no-deps - --output-file constraints-engine.txt
	echo $(TORCH_WITH_CUDA) | $(PIN) '' --upgrade --no-header --python-version 3.11 --python-platform x86_64-manylinux_2_28 - \
		| $(NAMES) | grep -E '$(TORCH_FAMILY)' \
		| $(PIN) 'make constraints-engine' --no-deps - --output-file container/constraints-cuda.txt

constraints-tools: $(TOOLS)/.installed  ## The same for these tools themselves, and for pip
	printf '%s\n' bandit check-jsonschema cyclonedx-bom mkdocs-material pip-audit twine uv \
		| $(PIN) 'make constraints-tools' --upgrade --universal --python-version 3.11 - --output-file constraints-tools.txt
	echo pip | $(PIN) 'make constraints-tools' --upgrade --no-deps - --output-file container/pip.txt

clean:  ## Remove caches and the demo's working folder
	rm -rf iris-demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -not -path './$(PEERS)/*' -prune -exec rm -rf {} +

distclean: clean  ## Remove the virtual environments too
	rm -rf $(VENV) $(TOOLS) $(ENGINE_VENV) $(PEERS) $(MINISTACK) $(SAM) $(CHECKOV) $(RTSTRUCT) $(OHIF)

# Stamps: installation runs again only when what it reads has changed.
# The pip that comes with Python 3.11 takes three times as long as a new one, which installs into the other
# environments, too; and only a new one checks packages by the hashes of a constraints file.
$(VENV)/.made: container/pip.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(@D) \
		|| { echo "no virtual environment could be made; Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) $(INSTALL) --requirement container/pip.txt
	@touch $@

$(ENGINE_VENV)/.made: $(VENV)/.made
	@$(BIN)/python -m venv --without-pip $(@D)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@$(BIN)/python container/dependencies.py >$(@D)/needed.txt
	@$(PIP) $(INSTALL) --constraint constraints.txt --requirement $(@D)/needed.txt
	@$(PIP) $(EDITABLE)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing into $(VENV), with what the tests need ..."
	@$(BIN)/python container/dependencies.py aws otel dev >$(@D)/needed.txt
	@$(PIP) $(INSTALL) --constraint constraints.txt --requirement $(@D)/needed.txt
	@$(PIP) $(EDITABLE)
	@touch $@ $(VENV)/.installed

$(TOOLS)/.installed: constraints-tools.txt $(VENV)/.made
	@echo "installing into $(TOOLS) what looks after packages ..."
	@$(BIN)/python -m venv --without-pip $(TOOLS)
	@$(PIP) --python $(TOOLS) $(INSTALL) --no-deps --requirement constraints-tools.txt
	@touch $@

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
$(ENGINE_VENV)/.installed: $(ENGINE_VENV)/.made constraints-engine.txt container/constraints-cpu.txt
	@echo "installing into $(ENGINE_VENV): TotalSegmentator and torch, 2.5 GB ..."
	@$(PIP) --python $(@D) $(INSTALL) --no-deps --requirement constraints-engine.txt \
		--requirement container/constraints-cpu.txt
	@touch $@
