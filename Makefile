# The two commands of the README make all that they need: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
ONCE   ?=
PORT   ?= 8000
SCENARIO ?= slo

.DEFAULT_GOAL := help
.PHONY: help demo test test-containers test-cluster loadtest redis-7 java-17 kustomize promtool podman lock lint bench-quality bench-refresh bench-cache bench-spark bench-serving clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.demo  ## the whole walk on real films: refresh, report, API; ONCE=1 answers once and ends
	@$(BIN)/python -m batch.command.demo --port $(PORT) $(if $(ONCE),--once)

test: $(VENV)/.test  ## the whole suite, against real servers
	@$(WITH_JAVA) $(WITH_KUSTOMIZE) $(BIN)/python -m pytest --numprocesses 3 --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)

test-containers: $(VENV)/.containers podman  ## the images, compose.yaml and the pods of k8s/, run for real (root; Debian's podman)
	@$(WITH_KUSTOMIZE) $(BIN)/python -m pytest tests/containers $(PYTEST_ARGS)

CLUSTER ?= new
test-cluster: $(VENV)/.test $(if $(filter new,$(CLUSTER)),podman)  ## k8s/README.md on a Kubernetes of two nodes made here (root; Debian and Go), or CLUSTER=current
	@$(BIN)/python -m tests.cluster --cluster $(CLUSTER) $(if $(REPLACE),--replace) $(CLUSTER_ARGS)

loadtest: $(VENV)/.stack  ## does the promise hold? SCENARIO=slo, DURATION=60, STRICT=1, URL= of a deployment
	@$(BIN)/python -m loadtest $(SCENARIO) $(if $(filter command,$(origin URL)),--url '$(URL)') $(if $(DURATION),--duration $(DURATION)) \
	  $(if $(STRICT),--strict) $(LOADTEST_ARGS)

lint: $(VENV)/.lint  ## flake8, black, isort, mypy --strict and the import rules
	$(BIN)/flake8 app batch loadtest tests
	$(BIN)/black --line-length 100 --check --quiet app batch loadtest tests
	$(BIN)/isort --check-only --quiet app batch loadtest tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-quality: $(VENV)/.test  ## how good the lists are, beside most-popular; DECKLISTS=events.parquet adds a set
	$(BIN)/python -m tests.bench.quality $(if $(DECKLISTS),--decklists $(DECKLISTS)) $(BENCH_ARGS)

bench-refresh: $(VENV)/.test  ## seconds and memory of the whole walk over the library's own work
	$(BIN)/python -m tests.bench.refresh $(if $(DECKLISTS),--decklists $(DECKLISTS)) $(BENCH_ARGS)

bench-cache: $(VENV)/.test  ## bytes per user and users per second in the cache
	$(BIN)/python -m tests.bench.cache $(BENCH_ARGS)

bench-spark: $(VENV)/.test  ## Spark beside implicit; growth with data and cores, a table and a plot (20 minutes)
	@$(WITH_JAVA) $(BIN)/python -m tests.bench.spark_fit $(if $(DECKLISTS),--decklists $(DECKLISTS))
	@$(WITH_JAVA) $(BIN)/python -m tests.bench.spark_scale $(BENCH_ARGS)

bench-serving: $(VENV)/.test  ## how near the API is to bare WSGI and bare Flask; needs wrk
	$(BIN)/python -m tests.bench.serving $(BENCH_ARGS)

# Versions and hashes of what the images install, for the Python that they have.
lock: $(VENV)/.lock  ## choose anew which versions the images install (commit what it changes)
	$(LOCK) --output-file app/requirements.txt
	$(LOCK) --extra batch --output-file batch/requirements.txt
	$(LOCK) --extra spark --constraint batch/requirements.txt --output-file batch/requirements-spark.txt
	$(LOCK) --extra loadtest --output-file loadtest/requirements.txt
LOCK = $(BIN)/uv pip compile setup.cfg --quiet --upgrade --generate-hashes --no-header --no-annotate \
  --python-version 3.13 --python-platform linux

clean:  ## remove the virtual environment and what tools left
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .import_linter_cache

# One environment; each target adds the extra that it needs, again whenever setup.cfg changed.
$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.11 or newer and run: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Larder needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Install one and run: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Could not make a virtual environment: install venv (Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }

# Redis 7, as Debian has it, for the tests: unpacked beside the others, not installed.
DEBIAN = redis-server redis-tools libatomic1 libjemalloc2 liblua5.1-0 liblzf1 lua-bitop lua-cjson
redis-7: $(BIN)/redis-server-7  ## fetch a Redis 7 for the tests from Debian's packages (root, for apt-get update)
$(BIN)/redis-server-7: | $(VENV)/bin/python
	@mkdir -p $(VENV)/redis-7 && cd $(VENV)/redis-7 && apt-get update -qq && apt-get download -qq $(DEBIAN) && \
	  for each in *.deb; do dpkg -x $$each . || exit 1; done || { \
	  echo "Could not fetch Redis 7 by apt-get: its tests are skipped, those of Valkey and Redis 6.2 are not." >&2; exit 1; }
	@printf '#!/bin/sh\nhere=%s\nLD_LIBRARY_PATH=$$(echo $$here/usr/lib/*-linux-gnu) exec $$here/usr/bin/redis-server "$$@"\n' \
	  $(abspath $(VENV))/redis-7 >$@ && chmod +x $@

# Java 17, as Debian has it, for the tests of Spark where there is none: unpacked, not installed.
JAVA_17 = $(VENV)/java-17
HAS_JAVA = test "$$("$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')" -ge 17 2>/dev/null
WITH_JAVA = $(HAS_JAVA) || { $(MAKE) --no-print-directory java-17 && export JAVA_HOME=$(abspath $(JAVA_17))/home; };
java-17: $(JAVA_17)/home/bin/java  ## fetch a Java 17 for the tests from Debian's packages (root, for apt-get update)
# Its settings are links into /etc, where nothing was installed: they are bent to the unpacked files.
$(JAVA_17)/home/bin/java: | $(VENV)/bin/python
	@echo "Fetching Java 17 into $(JAVA_17) ..."
	@mkdir -p $(JAVA_17) && cd $(JAVA_17) && apt-get update -qq && \
	  apt-get download -qq -o APT::Sandbox::User=root openjdk-17-jre-headless && dpkg -x openjdk-17-*.deb . && rm openjdk-17-*.deb && \
	  find usr/lib/jvm -lname '/etc/java-17-openjdk/*' | while read -r each; do ln -sf "$$PWD$$(readlink $$each)" $$each || exit 1; done && \
	  ln -sfn usr/lib/jvm/java-17-openjdk-* home && home/bin/java -version 2>/dev/null || { \
	  echo "Could not fetch Java 17 by apt-get: the tests of Spark are skipped. Install a Java 17 or newer, or set JAVA_HOME." >&2; exit 1; }

# Prometheus' own tool, as Debian has it, for the tests of the alerts: unpacked, not installed.
promtool: $(BIN)/promtool  ## fetch promtool for the tests from Debian's packages (root, for apt-get update)
$(BIN)/promtool: | $(VENV)/bin/python
	@mkdir -p $(VENV)/promtool && cd $(VENV)/promtool && apt-get update -qq && \
	  apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb && \
	  ln -sf ../promtool/usr/bin/promtool ../bin/ || { \
	  echo "Could not fetch promtool by apt-get: the tests of the alerts are skipped." >&2; exit 1; }

# What runs containers, as Debian has it; the tests bring its settings.
PODMAN = podman runc netavark aardvark-dns iptables catatonit mmdebstrap haproxy openssl
podman:  ## install podman and what the tests of containers need, from Debian's packages (root)
	@dpkg -s $(PODMAN) >/dev/null 2>&1 || { test "$$(id -u)" = 0 && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(PODMAN) >/dev/null; } || { \
	  echo "Containers are tested on Debian as root; could not install there: $(PODMAN)" >&2; exit 1; }

# kustomize 5, as Debian 13 has it, for the tests of k8s/ where no kubectl has one: unpacked, not installed. On an older
# Debian it comes from the same mirror; where there is no Debian, by Go.
KUSTOMIZE = $(VENV)/kustomize
WITH_KUSTOMIZE = kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v[5-9]' || $(MAKE) --no-print-directory kustomize;
kustomize: $(BIN)/kustomize  ## fetch a kustomize 5 for the tests, from Debian's packages (root, for apt-get update) or by Go
$(BIN)/kustomize: | $(VENV)/bin/python
	@echo "Fetching kustomize into $(KUSTOMIZE) ..."
	@mkdir -p $(KUSTOMIZE)/lists && { cd $(KUSTOMIZE) && apt-get update -qq && \
	  mirror=$$(apt-get indextargets --format '$$(REPO_URI)' 'Component: main' | grep -m 1 '/debian/$$') && \
	  echo "deb $$mirror trixie main" >sources.list && \
	  apt="apt-get -qq -o Dir::Etc::SourceList=$$PWD/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$$PWD/lists \
	    -o Dir::Cache=$$PWD -o APT::Sandbox::User=root" && \
	  $$apt update && $$apt download kustomize && dpkg -x kustomize_*.deb . && rm -r kustomize_*.deb lists && \
	  ln -sf ../kustomize/usr/bin/kustomize ../bin/; } 2>/dev/null || \
	  GOBIN=$(abspath $(BIN)) go install sigs.k8s.io/kustomize/kustomize/v5@v5.6.0 2>/dev/null || { \
	  echo "Could not fetch kustomize by apt-get or Go: the tests of k8s/ are skipped. Install kubectl 1.27 or newer." >&2; exit 1; }

$(VENV)/.%: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing larder[$*] into $(VENV) (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' || { \
	  echo "Could not install the packages: see that this machine reaches a Python package index (PIP_INDEX_URL, PIP_PROXY), then run make again." >&2; exit 1; }
	@touch $@
