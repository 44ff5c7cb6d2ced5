# The commands for daily work; `make` lists them. Variables:
#   ROUNDS, SEED      of fuzz: rounds for each parser; the seed of a run to repeat
#   CORTEX            of measure and the soak tests: another program than .build/dist/cortex
#   MINUTES, ENGINE   of soak: duration; sandbox or podman. SEED repeats a run
#   ITEMS, FIRINGS    of job-soak and job-scale: items of the job; planned times
SHELL := /bin/bash
.DEFAULT_GOAL := help
SWIFT_SOURCES := Package.swift Sources Tests

.PHONY: help
help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

.PHONY: setup
setup: ## Install missing packages on a Debian machine
	@scripts/setup.sh all

.PHONY: build
build: ## Build the release programs into .build/dist
	@scripts/setup.sh build
	@scripts/build.sh

.PHONY: demo
demo: ## Run OCR as an AsyncAPI and a language model as a RealtimeAPI
	@scripts/setup.sh demo
	@scripts/demo.sh

.PHONY: dev
dev: ## Build and run the platform with examples/hello (.build/dev)
	@scripts/setup.sh build
	@scripts/dev.sh

.PHONY: test
test: ## Run everything that CI runs: lint and all tests
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint
	@scripts/test.sh

.PHONY: lint
lint: ## Check the layout of the code, comments and scripts
	@swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)
	@scripts/lint_text.py
	@scripts/lint_docs.py
	@! command -v shellcheck >/dev/null || shellcheck -x scripts/*.sh .ci/run

.PHONY: format
format: ## Format the Swift code with `swift format`
	@swift format --in-place --parallel --recursive $(SWIFT_SOURCES)

.PHONY: bench
bench: ## Measure requests/s, latency, CPU and memory of a release build
	@scripts/setup.sh bench
	@scripts/build.sh
	@scripts/bench.sh

ROUNDS ?= 200000

.PHONY: fuzz
fuzz: ## Run parsers on hostile bytes (ROUNDS=…, SEED=… to repeat)
	@scripts/setup.sh test
	@seed=$${SEED:-$$RANDOM$$RANDOM}; echo "seed $$seed"; CORTEX_FUZZ_ROUNDS=$(ROUNDS) CORTEX_FUZZ_SEED=$$seed scripts/test.sh --filter 'FuzzTests'

.PHONY: sanitize
sanitize: ## Test with AddressSanitizer and ThreadSanitizer
	@scripts/setup.sh test
	@scripts/sanitize.sh

CORTEX ?= .build/dist/cortex
MINUTES ?= 20
ENGINE ?= sandbox

.PHONY: measure
measure: ## Measure wake-up, update and adoption of replicas (CORTEX=…)
	@python3 Benchmarks/replicas.py $(CORTEX)

.PHONY: soak
soak: ## Soak test (MINUTES=20, ENGINE=podman, SEED=…, CORTEX=…)
	@python3 Benchmarks/soak.py $(CORTEX) $(MINUTES) $(ENGINE)

.PHONY: job-soak
job-soak: ## Crash test of jobs (ITEMS=100000, FIRINGS=200, SEED=…)
	@python3 Benchmarks/job_soak.py $(CORTEX) $(or $(ITEMS),100000) $(or $(FIRINGS),200)

.PHONY: job-scale
job-scale: ## Run a job of many items and erase it (ITEMS=10000000)
	@python3 Benchmarks/job_scale.py $(CORTEX) $(or $(ITEMS),10000000)

.PHONY: proxy-soak
proxy-soak: ## Test the proxy with all bytes, rounds and connections (1 h)
	@scripts/setup.sh test
	@PROXY_FULL=1 PROXY_MUTATIONS=20000 scripts/proxy-test.sh -s

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf .build examples/*/packages
