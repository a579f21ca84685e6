# InferenceGateway. `make` lists what can be made.

PYTHON ?= python3
CACHE := $(or $(IGW_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/igw)
# Outside the checkout and keyed by the lock file: a fresh clone installs nothing twice.
VENV := $(CACHE)/venv-$(shell sha256sum requirements/dev.txt | cut -c1-12)
PY := $(VENV)/bin/python
NODE := tests/node/kind
export PYTHONPATH := operator:runtime:tests/node:tests
export PATH := $(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check unit integration e2e follow test-export conformance fuzz-api soak matrix matrix-long bench-operator bench-runtime bench-gpu bench-slo generate pictures golden lock lock-peers parts clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ See it work
demo: $(VENV)/.ready ## Cluster up, gateway Ready, a real photograph classified
	@$(PY) -m harness.demo up

demo-down: $(VENV)/.ready ## End the demo's cluster
	@$(PY) -m harness.demo down

##@ Prove it
test: $(VENV)/.ready ## Everything: lint, types, unit, integration, end-to-end
	@$(PY) -m harness.testing

check: $(VENV)/.ready ## Lint, format, types, import contracts, spelling
	ruff check . && ruff format --check .
	mypy operator/igw_operator runtime/igw_runtime tests
	lint-imports
	codespell
	test ! -e operator/__init__.py && test ! -e runtime/__init__.py

unit: $(VENV)/.ready ## Tests without a cluster
	pytest -n 2 -m "not integration and not e2e and not export"

integration: $(VENV)/.ready ## Tests against a real kube-apiserver and a real model server
	$(PY) -m harness.testing integration

e2e: $(VENV)/.ready ## Tests on a real node (or kind)
	$(PY) -m harness.testing e2e

follow: $(VENV)/.ready ## One request through real Jaeger, Loki and Prometheus (10 minutes; builds for 10 more once)
	@$(PY) -m harness.testing follow

test-export: $(VENV)-export/.ready ## Tests of exporting models; installs torch, 5 GB
	$(VENV)-export/bin/python -m pytest -q -m export

conformance: $(VENV)/.ready $(CACHE)/venv-reference/.ready ## Inference protocols, compared with Triton's answers; 400 MB
	IGW_REFERENCE_PYTHON=$(CACHE)/venv-reference/bin/python pytest -q \
	  tests/conformance/test_against_triton.py tests/igw_runtime/web/oip \
	  tests/igw_runtime/web/test_kserve_v1.py

fuzz-api: $(VENV)/.ready $(CACHE)/venv-fuzz/.ready ## The runtime against its OpenAPI document, by Schemathesis; 90 MB
	IGW_SCHEMATHESIS=$(CACHE)/venv-fuzz/bin/schemathesis pytest -q tests/conformance/test_openapi.py

soak: $(VENV)/.ready ## Ten minutes of good, bad and rude traffic; writes docs/benchmarks/soak.md
	@$(PY) -m bench.soak $(ARGUMENTS)

matrix: $(VENV)/.ready ## The fault matrix; writes docs/fault-matrix.md (many minutes)
	IGW_MATRIX_TABLE=1 pytest -v -m "matrix and not scale" -n 4 --tb=short tests/matrix
	IGW_MATRIX_TABLE=1 pytest -v -m "matrix and scale" --tb=short tests/matrix

matrix-long: $(VENV)/.ready ## Its cases that take a quarter of an hour each
	IGW_MATRIX_TABLE=1 pytest -v -m "matrix and long" -n 2 --tb=short tests/matrix

bench-operator: $(VENV)/.ready ## Measure the operator; writes docs/benchmarks (35 minutes)
	@$(PY) -m bench.operator $(ARGUMENTS)

bench-runtime: $(VENV)/.ready $(VENV)-export/.ready ## Measure the model server beside its peers; writes docs/benchmarks (25 minutes, 12 GB)
	@IGW_EXPORT_PYTHON=$(VENV)-export/bin/python $(PY) -m bench.runtime $(ARGUMENTS)

bench-gpu: $(VENV)/.ready ## Measure the model server on a GPU; writes docs/benchmarks/gpu.md (10 minutes, 5 GB)
	@$(PY) -m bench.gpu --look $(ARGUMENTS)
	@test -n "$(IGW_TORCH_PYTHON)" || $(MAKE) --no-print-directory $(VENV)-export/.ready
	@$(or $(IGW_TORCH_PYTHON),$(VENV)-export/bin/python) -m bench.gpu $(ARGUMENTS)

bench-slo: $(VENV)/.ready ## Compare SLO rules, ours and Sloth's, with the truth of a month (20 minutes)
	@$(PY) -m bench.slo $(ARGUMENTS)

##@ Change it
generate: $(VENV)/.ready ## Write crds/, install.yaml, dashboards, reference pages, protocol messages
	$(PY) -m harness.generate

pictures: $(VENV)/.ready $(CACHE)/venv-pictures/.ready ## Photograph the dashboards of a real load; writes docs/images (20 minutes)
	@$(PY) -m harness.pictures.story
	@$(CACHE)/venv-pictures/bin/python -m harness.pictures.draw
	@$(PY) -m harness.generate >/dev/null

golden: $(VENV)/.ready ## Rewrite tests/golden from what is rendered now
	IGW_UPDATE_GOLDEN=1 pytest -q tests/igw_operator/plan

lock: $(VENV)/.ready ## Renew the hash-pinned lock files from pyproject.toml
	for extra in operator runtime export reference fuzz pictures dev; do \
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --extra $$extra pyproject.toml -o requirements/$$extra.txt || exit 1; \
	done

lock-peers: $(VENV)/.ready ## Renew the pins of the servers that bench-runtime compares with
	cd tests/bench/runtime/peers && for file in *.in */requirements.in; do \
	  [ $$file = common.in ] || uv pip compile -q --python-version 3.11 --generate-hashes \
	    --python-platform x86_64-manylinux_2_35 --no-header --no-annotate \
	    $$([ $$file = torch.in ] && echo --no-emit-package numpy --no-emit-package pillow) \
	    $$file -o $${file%.in}.txt || exit 1; \
	done

##@ House-keeping
parts: ## Build and install what the local node is made of
	@$(NODE) ensure

clean: ## Remove cluster, processes, mounts, links and firewall rules; caches stay
	@$(NODE) purge
	rm -rf .igw .pytest-kind dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The name holds the digest of the lock file: what is there is never out of date.
$(VENV)/.ready:
	@echo "Installing the Python packages of requirements/dev.txt (about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  apt-get install -y --no-install-recommends python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); }
	@$(VENV)/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)-export/.ready: requirements/export.txt
	@$(PYTHON) -m venv $(VENV)-export
	@$(VENV)-export/bin/pip install -q --require-hashes -r requirements/dev.txt
	@$(VENV)-export/bin/pip install -q --require-hashes -r requirements/export.txt
	@touch $@

$(CACHE)/venv-fuzz/.ready: requirements/fuzz.txt
	@$(PYTHON) -m venv $(CACHE)/venv-fuzz
	@$(CACHE)/venv-fuzz/bin/pip install -q --require-hashes -r requirements/fuzz.txt
	@touch $@

$(CACHE)/venv-pictures/.ready: requirements/pictures.txt
	@$(PYTHON) -m venv $(CACHE)/venv-pictures
	@$(CACHE)/venv-pictures/bin/pip install -q --require-hashes -r requirements/pictures.txt
	@touch $@

# Triton's embedded Python needs the standard library it was built with: Debian's 3.11.
$(CACHE)/venv-reference/.ready: requirements/reference.txt
	@/usr/bin/python3 -m venv $(CACHE)/venv-reference
	@$(CACHE)/venv-reference/bin/pip install -q --require-hashes -r requirements/reference.txt
	@touch $@
