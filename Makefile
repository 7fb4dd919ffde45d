PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN := redis-server postgresql gcc libc6-dev fuse3 curl procps git openssh-client util-linux mount strace jq \
	$(shell command -v node > /dev/null || echo nodejs) $(shell command -v npm > /dev/null || echo npm)  # other makers' nodejs brings npm along

HALF := tests/objects tests/cli tests/web

export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.ready ## Make .venv with all that run, tests and benches need

$(VENV)/.ready: requirements.txt requirements-test.txt setup.cfg setup.py pyproject.toml $(wildcard stor/redis/*.c)
	@command -v $(PYTHON) > /dev/null || tools/debian python3
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "stor needs Python 3.11 or newer: make venv PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tools/debian python3-venv
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt -r requirements-test.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@$(BIN)/python -c 'import stor.redis._lane' 2>/dev/null || echo "No C compiler or Python headers: stor.redis._lane is left out; all works, the Redis proxy less fast."
	@touch $@

run: venv ## Start the tour: all this machine can do, on loopback
	$(BIN)/twistd -n stor --config stor.example.toml run

check: venv ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

test: packages check ## Check, then all tests, on real servers: one half beside the other, for both mostly wait
	@mkdir -p .compat
	@$(BIN)/python -m pytest $(HALF) > .compat/half.log 2>&1 & half=$$!; \
	$(BIN)/python -m pytest $(addprefix --ignore=,$(HALF)); other=$$?; \
	wait $$half; half=$$?; cat .compat/half.log; \
	echo "exit codes: $$half and $$other"; [ $$half = 0 ] && [ $$other = 0 ]

packages: ## Install the Debian packages that the tests need, when root
	@tools/debian $(DEBIAN)

test-compat: venv packages ## Redis's own test suite and redis-py's, through the proxy
	PYTHON=$(BIN)/python tests/compat/run

test-full: venv packages ## The tests of many processes and kills, in full numbers
	STOR_TEST_FULL=1 $(BIN)/python -m pytest tests/end_to_end/test_blobs_processes.py
	STOR_TEST_FULL=1 $(BIN)/python -m pytest tests/objects/test_soak.py tests/objects/test_listing_scale.py tests/end_to_end/test_objects_processes.py

bench: bench-redis bench-web bench-blobs bench-objects ## Side by side with the peers of each part

bench-redis: venv ## The Redis proxy beside HAProxy, nutcracker and a threaded proxy
	@tools/debian redis-server haproxy nutcracker
	$(BIN)/python -m bench.redis

bench-web: venv ## HTTP beside uvicorn and nginx
	@tools/debian nginx wrk
	$(BIN)/python -m bench.web

bench-blobs: venv ## The blob sync API beside the obvious design
	@tools/debian wrk
	$(BIN)/python -m bench.blobs

bench-objects: venv ## The object store beside nginx, SeaweedFS's filer, JuiceFS's gateway and a file for each object
	@tools/debian wrk nginx postgresql
	$(BIN)/python -m bench.objects

lock: venv ## Pin the newest versions
	$(BIN)/python -m pip install --quiet pip-tools
	for name in requirements requirements-test; do $(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $$name.in; done

clean: ## Remove all that is made
	rm -rf $(VENV) build dist *.egg-info stor/redis/*.so .mypy_cache .ruff_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help venv run check test packages test-compat test-full bench bench-redis bench-web bench-blobs bench-objects lock clean
