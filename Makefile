# Pagoda's front door. `make run` answers; `make test` proves. Everything else is a step of the two.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PATH := $(HOME)/.cargo/bin:$(PATH)
export PATH

PRESET ?= release
JOBS ?= 2
MODEL ?= smollm2-135m
HOST ?= 127.0.0.1
PORT ?= 8000
FUZZ_SECONDS ?= 600
MODELS_DIR := $(or $(PAGODA_MODELS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pagoda/models)
BUILD := build/$(PRESET)
PAGODA := $(BUILD)/bin/pagoda

.PHONY: help run build test test-clients bench bench-peers format lint fuzz clean setup setup-test configure test-unit test-client

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo "Variables: MODEL=$(MODEL) HOST=$(HOST) PORT=$(PORT) PRESET=$(PRESET) JOBS=$(JOBS) ARGS='further options of pagoda serve'"

run: build ## install what is missing, build, fetch the model, serve it on http://$(HOST):$(PORT)
	@model="$$(python3 tools/fetch_model.py $(MODEL))" && exec $(PAGODA) serve --model "$$model" --served-model-name $(MODEL) --host $(HOST) --port $(PORT) $(ARGS)

build: setup configure ## build $(BUILD)/bin/pagoda
	@cmake --build $(BUILD) -j$(JOBS) --target pagoda $(if $(VERBOSE),,-- --quiet)

test: setup-test ## all tests: unit, golden, client, fuzz smoke, format and lint
	@tools/run_tests.sh $(PRESET) $(JOBS)

test-clients: build ## clients and load generators of others against the served model (installs gigabytes), then schemathesis
	@for set in requirements-heavy requirements; do python3 -m venv build/clients-$$set && \
	  build/clients-$$set/bin/pip -q install -r tests/clients/$$set.txt || exit 1; done
	@model="$$(python3 tools/fetch_model.py smollm2-135m)" && export PAGODA_BUILD="$$PWD/$(BUILD)" && \
	  build/clients-requirements-heavy/bin/python tests/clients/run_clients.py --model "$$model" && \
	  build/clients-requirements/bin/python tests/clients/schemathesis_run.py --model "$$model"

bench: build ## kernels by themselves; load, prefill, decode, batch and KV-cache measurements of $(MODEL)
	@$(PAGODA) bench kernels
	@model="$$(python3 tools/fetch_model.py $(MODEL))" && for bench in load prefill decode batch kv-cache; do \
	  $(PAGODA) bench $$bench --model "$$model" $(ARGS) || exit 1; done

bench-peers: build ## install the peers that are packages; the same shapes in turn (see bench/README.md)
	@cd bench && nice python3 -m pairwise.install --jobs $(JOBS)
	@model="$$(python3 tools/fetch_model.py $(MODEL))" && python3 bench/compare.py --pagoda $(PAGODA) --model "$$model" $(ARGS)

format: setup-test ## rewrite the sources as .clang-format says
	@tools/format.sh fix

lint: setup-test configure ## check format, layers and clang-tidy
	@tools/format.sh check && python3 tools/check_layers.py && tools/tidy.sh $(BUILD)

fuzz: setup-test ## run every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) seconds
	@cmake --preset fuzz >/dev/null && cmake --build --preset fuzz -- --quiet && tools/fuzz.sh $(FUZZ_SECONDS)

clean: ## remove build/
	@rm -rf build

setup:
	@tools/setup.sh build

setup-test:
	@tools/setup.sh test

configure: | setup
	@[ -f $(BUILD)/build.ninja ] || cmake --preset $(PRESET) >/dev/null
