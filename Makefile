# Every command of daily work. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SWIFT_SOURCES := Package.swift Sources Tests

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

.PHONY: setup
setup: ## Install what is missing on a Debian machine: bubblewrap, SQLite headers, Python, Podman for the tests
	@scripts/setup.sh all

.PHONY: build
build: ## Build the release programs into .build/dist (Swift's library linked in)
	@scripts/setup.sh build
	@scripts/build.sh

.PHONY: demo
demo: ## Start the platform, deploy the OCR example, submit images, show what they say
	@scripts/setup.sh demo
	@scripts/demo.sh

.PHONY: dev
dev: ## Build and run the platform in the foreground (data in .build/dev) with examples/hello deployed
	@scripts/setup.sh build
	@scripts/dev.sh

.PHONY: test
test: ## Everything that CI runs: lint, then all tests on real SQLite, bubblewrap and Podman
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint
	@scripts/test.sh

.PHONY: lint
lint: ## Layout of the Swift code, and the shell scripts
	@swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)
	@scripts/lint_text.py
	@scripts/lint_docs.py
	@! command -v shellcheck >/dev/null || shellcheck -x scripts/*.sh .ci/run

.PHONY: format
format: ## Lay the Swift code out as `swift format` decides
	@swift format --in-place --parallel --recursive $(SWIFT_SOURCES)

.PHONY: bench
bench: ## Submits/s, completed requests/s, latency, CPU and memory of a release build on this machine
	@scripts/setup.sh bench
	@scripts/build.sh
	@scripts/bench.sh

ROUNDS ?= 200000

.PHONY: fuzz
fuzz: ## Hostile bytes for every parser that reads them: ROUNDS=200000, SEED=… (a new one each time) to repeat a run
	@scripts/setup.sh test
	@seed=$${SEED:-$$RANDOM$$RANDOM}; echo "seed $$seed"; CORTEX_FUZZ_ROUNDS=$(ROUNDS) CORTEX_FUZZ_SEED=$$seed scripts/test.sh --filter 'FuzzTests'

.PHONY: sanitize
sanitize: ## The tests of the C code, the stores and the concurrent parts once with AddressSanitizer and once with ThreadSanitizer
	@scripts/setup.sh test
	@scripts/sanitize.sh

CORTEX ?= .build/dist/cortex
MINUTES ?= 20
ENGINE ?= sandbox

.PHONY: measure
measure: ## Times of replicas: wake-up from zero (sandbox, Podman), rolling update of 10, adoption of 50 (CORTEX=… another build)
	@python3 Benchmarks/replicas.py $(CORTEX)

.PHONY: soak
soak: ## The long haul: load, deploys, kills; MINUTES=20, ENGINE=podman, SEED=… to repeat one, CORTEX=… another build
	@python3 Benchmarks/soak.py $(CORTEX) $(MINUTES) $(ENGINE)

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf .build examples/ocr/packages
