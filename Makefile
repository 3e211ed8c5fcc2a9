# Every tool runs with `go run TOOL@VERSION`: the versions are pinned here and nothing but Go has to be installed.
# test, race, fuzz and bench need no tool at all, and no network once the module cache is filled; check and ci need govulncheck.

BUF           := github.com/bufbuild/buf/cmd/buf@v1.75.0
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# How long `make fuzz` stays with each fuzz target.
FUZZTIME ?= 20s
# What `make bench` passes to the suite: `make bench BENCHFLAGS='-run pingpong,count -procs 1,2'`.
BENCHFLAGS ?= -short
# What `make breaking` compares the schemas with, as a buf input.
AGAINST ?= .git\#branch=main,subdir=proto

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help check vuln test race lint schemas breaking fuzz bench generate ci

help: ## print this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | awk -F '\t' '{ printf "  %-10s %s\n", $$1, $$2 }'

check: vuln ## vet, with and without the invariants tag, gofmt, and what vuln does
	go vet ./...
	go vet -tags invariants ./...
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

# The list of vulnerabilities is on the network. Without it nothing is known, and the step says so instead of failing.
vuln: ## govulncheck: known vulnerabilities in what the code calls
	@if out=$$(go run $(GOVULNCHECK) ./... 2>&1); then echo "$$out"; \
	elif grep -qE 'fetching vulnerabilities|dial tcp|no such host' <<< "$$out"; then echo "govulncheck: NOT CHECKED, the vulnerability database cannot be reached"; \
	else echo "$$out"; exit 1; fi

test: ## all tests
	go test ./...

race: ## all tests under the race detector at GOMAXPROCS 2 and 4 (needs a C compiler)
	go test -race -cpu 2,4 ./...

lint: schemas ## golangci-lint, and what schemas does
	go run $(GOLANGCI_LINT) run ./...

schemas: ## buf lint and format, and whether the generated code is what the schemas give
	go run $(BUF) lint
	go run $(BUF) format --diff --exit-code
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	go run $(BUF) generate --output "$$fresh"; \
	files=$$(cd "$$fresh" && find . -name '*.go'); \
	for file in $$files; do \
		cmp "$$fresh/$$file" "$$file" || { echo "generated code is stale, run make generate"; exit 1; }; \
	done

breaking: ## whether the schemas below proto break what AGAINST (default: branch main) promised
	go run $(BUF) breaking proto --against '$(AGAINST)'

fuzz: ## every fuzz target for FUZZTIME (default 20s)
	@for package in $$(go list ./...); do \
		targets=$$(go test -list '^Fuzz' "$$package" | sed -n '/^Fuzz/p'); \
		for target in $$targets; do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzzminimizetime 1x -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

bench: ## the bench suite with BENCHFLAGS (default -short)
	go run ./bench $(BENCHFLAGS)

generate: ## renew the generated code from the schemas
	go run $(BUF) generate

ci: check test ## what .ci/run runs: check and test
