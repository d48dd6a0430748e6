# The two commands of the README make all that they need: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
ONCE   ?=
PORT   ?= 8000
SCENARIO ?= slo

.DEFAULT_GOAL := help
.PHONY: help demo demo-clicks demo-decisions workbench test fuzz test-busy test-browser test-mlflow test-notebooks test-sdk picture test-spark test-containers test-cluster loadtest libgomp redis-7 java-17 kustomize promtool chromium podman lock variables lint bench-live bench-clicks bench-decisions bench-estimates bench-events bench-export bench-quality bench-refresh bench-cache bench-spark bench-scoring bench-serving bench-pairs bench-training clean

help:  ## show this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.demo libgomp  ## the whole walk on real films: refresh, report, API; ONCE=1 answers once and ends
	@$(BIN)/python -m batch.command.stack.demo --port $(PORT) $(if $(ONCE),--once)

demo-clicks: $(VENV)/.demo-clicks libgomp  ## a click model: impressions, training, a service, ten ranked candidates; ONCE=1; LARDER_REPORT=report.html
	@$(BIN)/python -m batch.command.clicks.demo --port $(PORT) $(if $(ONCE),--once)

demo-decisions: $(VENV)/.demo-decisions  ## rank and reward by the cloud service's own SDK: a learning curve, an evaluation, its best policy; ONCE=1
	@$(BIN)/python -m batch.command.decisions.demo --port $(PORT) $(if $(ONCE),--once)

workbench: $(VENV)/.workbench libgomp  ## notebooks in JupyterLab on 127.0.0.1:8888, and a cache; ONCE=1 executes the first; LARDER_NOTEBOOKS=folder
	@$(FETCH) java-17 || true
	@$(WITH_JAVA) $(BIN)/larder workbench $(if $(filter command,$(origin PORT)),--jupyter-port $(PORT)) $(if $(ONCE),--once)

# A tool that cannot be fetched is told in a sentence; its tests say that they are skipped.
test: $(VENV)/.test libgomp  ## everything but Spark and containers, against real servers
	@$(FETCH) redis-7 promtool kustomize || true
	@$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(PYTEST_ARGS)

test-busy: $(VENV)/.test  ## the same while eight busy loops run beside it
	@$(BIN)/python -m tests.busy $(MAKE) test

fuzz: $(VENV)/.test  ## attack a running stack for some minutes: raw HTTP, slow connections, garbage, odd files, openapi.yaml; SECONDS=, SEED=, SERVER=
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(SERVER),--server $(SERVER)) $(FUZZ_ARGS)

test-browser: $(VENV)/.test-browser  ## larder.js, /docs and the explorer in a real Chromium, which it fetches (400 MB); pictures in browser-report
	@$(FETCH) chromium || true
	@$(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

picture: $(VENV)/.test-browser  ## take the README's picture of the explorer anew (commit what it changes)
	@$(FETCH) chromium || true
	@$(BIN)/python -m pytest tests/browser/test_explorer.py -k picture
	@cp browser-report/picture.png tests/browser/explorer.png

test-mlflow: $(VENV)/.test-mlflow  ## refreshes as runs in a real MLflow: in a file, and on a server
	@$(BIN)/python -m pytest tests/mlflow $(PYTEST_ARGS)

test-notebooks: $(VENV)/.test-notebooks libgomp  ## the notebooks of the workbench, executed, and one in a real Chromium; pictures in browser-report
	@$(FETCH) java-17 chromium || true
	@$(WITH_JAVA) $(BIN)/python -m pytest tests/notebooks --numprocesses 2 --dist worksteal $(PYTEST_ARGS)

NODE_SDKS = @azure/cognitiveservices-personalizer@2.0.1 @azure-rest/ai-personalizer@1.0.0-beta.1
test-sdk: $(VENV)/.test-sdk  ## every operation of the cloud service's own SDKs, Python's and JavaScript's, and its two tutorials
	@test -e $(VENV)/sdk/node_modules/.package-lock.json || npm install --silent --no-audit --no-fund \
	    --fetch-retries 1 --fetch-retry-maxtimeout 5000 --fetch-timeout 60000 --prefix $(VENV)/sdk $(NODE_SDKS) || \
	  echo "npm could not install the JavaScript SDKs, so their tests are skipped; to run them too, see that node and npm are there and reach a registry." >&2
	@$(BIN)/python -m pytest tests/sdk $(PYTEST_ARGS)

test-spark: $(VENV)/.test-spark  ## Spark: one session, one real cluster, and what happens when parts of it are killed
	@$(FETCH) java-17 || true
	@$(WITH_JAVA) $(BIN)/python -m pytest tests/spark --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-containers: $(VENV)/.containers kustomize podman  ## the images, compose.yaml and the pods of k8s/, run for real (root; Debian's podman)
	@$(BIN)/python -m pytest tests/containers --numprocesses 2 --dist loadscope $(PYTEST_ARGS)

CLUSTER ?= new
test-cluster: $(VENV)/.test $(if $(filter new,$(CLUSTER)),podman)  ## k8s/README.md on a Kubernetes of two nodes made here (root; Debian and Go), or CLUSTER=current
	@$(BIN)/python -m tests.cluster --cluster $(CLUSTER) $(if $(REPLACE),--replace) $(CLUSTER_ARGS)

loadtest: $(VENV)/.stack libgomp  ## does the promise hold? SCENARIO=slo, DURATION=60, STRICT=1, SERVER=granian, URL= of a deployment
	@$(if $(SERVER),LARDER_SERVER='$(SERVER)') $(BIN)/python -m loadtest $(SCENARIO) $(if $(filter command,$(origin URL)),--url '$(URL)') $(if $(DURATION),--duration $(DURATION)) \
	  $(if $(STRICT),--strict) $(LOADTEST_ARGS)

lint: $(VENV)/.lint  ## flake8, black, isort, mypy --strict and the import rules
	$(BIN)/flake8 app batch k8s loadtest tests
	$(BIN)/black --line-length 100 --check --quiet app batch k8s loadtest tests
	$(BIN)/isort --check-only --quiet app batch k8s loadtest tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-quality: $(VENV)/.test  ## how good the lists are, beside most-popular; DECKLISTS=events.parquet adds a set
	$(BIN)/python -m tests.bench.quality $(if $(DECKLISTS),--decklists $(DECKLISTS)) $(BENCH_ARGS)

bench-refresh: $(VENV)/.test  ## seconds and memory of the whole walk over the library's own work
	$(BIN)/python -m tests.bench.refresh $(if $(DECKLISTS),--decklists $(DECKLISTS)) $(BENCH_ARGS)

bench-clicks: $(VENV)/.test libgomp  ## quality and cost of click models; CRITEO=train.txt adds the published protocol
	OMP_WAIT_POLICY=passive $(BIN)/python -m tests.bench.clicks $(if $(CRITEO),--criteo $(CRITEO)) $(BENCH_ARGS)

bench-decisions: $(VENV)/.test  ## what a policy learns in worlds whose truth is known, and what it costs
	$(BIN)/python -m tests.bench.worlds
	$(BIN)/python -m tests.bench.deciding

bench-training: $(VENV)/.test  ## decisions joined and learned for a second of a core, memory, how soon a reward counts
	$(BIN)/python -m tests.bench.training $(BENCH_ARGS)

bench-estimates: $(VENV)/.test  ## whether what is estimated of policies is true: 100 runs whose truth is known
	$(BIN)/python -m tests.bench.estimates $(BENCH_ARGS)

bench-cache: $(VENV)/.test  ## bytes per user and users per second in the cache
	$(BIN)/python -m tests.bench.cache $(BENCH_ARGS)

bench-live: $(VENV)/.test  ## what following users is worth: known users, newcomers, memory; DECKLISTS=events.parquet
	$(BIN)/python -m tests.bench.live $(if $(DECKLISTS),--decklists $(DECKLISTS))

bench-export: $(VENV)/.test  ## events a second into files and out of them, bytes of an event on disk
	$(BIN)/python -m tests.bench.export $(BENCH_ARGS)

bench-spark: $(VENV)/.test-spark java-17  ## Spark beside implicit; growth with data and cores, a table and a plot (20 minutes)
	@$(WITH_JAVA) $(BIN)/python -m tests.bench.spark_fit $(if $(DECKLISTS),--decklists $(DECKLISTS))
	@$(WITH_JAVA) $(BIN)/python -m tests.bench.spark_scale $(BENCH_ARGS)

bench-serving: $(VENV)/.test  ## how near the API is to bare WSGI and bare Flask; needs wrk
	$(BIN)/python -m tests.bench.serving $(BENCH_ARGS)

bench-scoring: $(VENV)/.test libgomp  ## what it costs to score candidates by a click model, beside bare Flask; needs wrk
	$(BIN)/python -m tests.bench.serving --clicks --connections 8 $(BENCH_ARGS)

bench-pairs: $(VENV)/.test  ## rank and reward a second, beside bare Flask; needs wrk
	$(BIN)/python -m tests.bench.pairs $(BENCH_ARGS)

bench-events: $(VENV)/.test  ## events taken for a second of a core, alone and in batches
	$(BIN)/python -m tests.bench.events $(BENCH_ARGS)

variables: $(VENV)/.test  ## write down anew which LARDER_ variables there are (commit what it changes)
	$(BIN)/python -m tests.contracts.variables

# Versions and hashes of what the images install, for the Python that they have.
lock: $(VENV)/.lock  ## choose anew which versions the images install (commit what it changes)
	$(LOCK) --extra granian --extra live --output-file app/requirements.txt
	$(LOCK) --extra granian --extra live --extra clicks --constraint app/requirements.txt --output-file app/requirements-clicks.txt
	$(LOCK) --extra batch --extra clicks --output-file batch/requirements.txt
	$(LOCK) --extra decisions-up --output-file batch/requirements-decisions.txt
	$(LOCK) --extra spark --extra clicks --constraint batch/requirements.txt --output-file batch/requirements-spark.txt
	$(LOCK) --extra loadtest --output-file loadtest/requirements.txt
	$(LOCK) --extra workbench --constraint batch/requirements-spark.txt --output-file batch/workbench/requirements.txt
LOCK = $(BIN)/uv pip compile setup.cfg --quiet --upgrade --generate-hashes --no-header --no-annotate \
  --python-version 3.13 --python-platform linux

clean:  ## remove the virtual environment and what tools left
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .import_linter_cache
	find app batch k8s loadtest tests -name __pycache__ -prune -exec rm -rf {} +

# One environment; each target adds the extra that it needs, again whenever setup.cfg changed.
$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.11 or newer and run: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Larder needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Install one and run: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Could not make a virtual environment: install venv (Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }

# What tests need and pip does not have, as Debian has it: unpacked into the environment, not installed.
FETCH = sh tests/fetch.sh $(VENV)
WITH_JAVA = fetched=$(abspath $(VENV))/debian/java-17/home; test ! -e $$fetched || export JAVA_HOME=$$fetched;
libgomp: | $(VENV)/bin/python  ## fetch the system's OpenMP, which the libraries of models need, where there is none
	@$(FETCH) $@ || { echo "Without libgomp.so.1 no model is trained: install it, then run make again." >&2; exit 1; }
redis-7: | $(VENV)/bin/python  ## fetch a Redis 7 for the tests from Debian's packages
	@$(FETCH) $@
java-17: | $(VENV)/bin/python  ## fetch a Java 17 for the tests, where there is none
	@$(FETCH) $@
promtool: | $(VENV)/bin/python  ## fetch promtool for the tests of the alerts
	@$(FETCH) $@
kustomize: | $(VENV)/bin/python  ## fetch a kustomize 5 for the tests of k8s/, where no kubectl has one (or by Go)
	@$(FETCH) $@

chromium: | $(VENV)/bin/python  ## fetch a Chromium for make test-browser
	@$(FETCH) $@

# What runs containers, as Debian has it; the tests bring its settings.
PODMAN = podman runc netavark aardvark-dns iptables catatonit mmdebstrap haproxy openssl
podman:  ## install podman and what the tests of containers need, from Debian's packages (root)
	@dpkg -s $(PODMAN) >/dev/null 2>&1 || { test "$$(id -u)" = 0 && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(PODMAN) >/dev/null; } || { \
	  echo "Containers are tested on Debian as root; could not install there: $(PODMAN)" >&2; exit 1; }

$(VENV)/.%: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing larder[$*] into $(VENV) (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[$*]' || { \
	  echo "Could not install the packages: see that this machine reaches a Python package index (PIP_INDEX_URL, PIP_PROXY), then run make again." >&2; exit 1; }
	@touch $@
