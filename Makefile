# Needs go, make and git. `make` alone says what there is.

BIN     := bin/offhook
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
GO_MIN  := $(shell awk '$$1 == "go" { print $$2 }' go.mod)
SOURCES := cmd deploy ingress messages store worker

# The linter is built from source and pinned by a module file of its own: it is no
# dependency of the program.
GOLANGCI := go tool -modfile=.golangci.mod golangci-lint

# The tests that take faults by the minute. `make test` runs them too, with outages of
# seconds.
SOAKS := TestFaults|TestFallbackAtOnceWithoutNATS|TestARestartedWorkerCostsOneHold|TestCopiesAtSeveralIngresses|TestABadNetwork|TestFreshCallsAfterAnOutage

.DEFAULT_GOAL := help
.PHONY: help demo dev test bench soak lint build format clean check-go test-needs check-format vet

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## call 50 simulated people through the example survey; ends by itself
	@$(BIN) demo

dev: build ## run everything in one process with a simulated TeleSign, until Ctrl-C
	@$(BIN) dev --flow deploy/examples/visit-survey.yaml --speed 10 --seed 4

test: check-go check-format test-needs vet build ## every check and test; installs redis-server and gcc when it may
	go test -race -count=1 -timeout 20m ./...
	@echo "passed: build, gofmt, go vet, go test -race ($$(go list ./... | wc -l) packages)"

bench: build test-needs ## measure the call path beside a bare server and a naive pipe; takes minutes
	@$(BIN) bench

SEED   ?= 1
OUTAGE ?= 60s
CALLS  ?= 300
soak: check-go test-needs ## faults in full: outages of a minute under 300 calls, about 25 min; SEED, OUTAGE, CALLS
	go test -count=1 -timeout 90m -v -run '^($(SOAKS))$$' ./cmd/internal/e2e -args -fault-calls $(CALLS) -fault-outage $(OUTAGE) -fault-seed $(SEED)

lint: check-go ## run golangci-lint; the first time builds it, which takes minutes
	$(GOLANGCI) run ./...

build: check-go ## build bin/offhook
	go build -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/offhook

format: check-go ## let gofmt rewrite the sources
	gofmt -s -w $(SOURCES)

clean: ## remove what was built
	rm -rf bin

check-go:
	@command -v go >/dev/null || { echo >&2 "go is missing: install Go $(GO_MIN) or later"; exit 1; }
	@have=$$(go env GOVERSION | sed 's/^go//; s/[ -].*//'); \
	printf '%s\n' "$(GO_MIN)" "$$have" | sort -C -V || { echo >&2 "Go $$have is too old: install Go $(GO_MIN) or later"; exit 1; }

# The tests run redis-servers of their own, the race detector needs a C compiler.
test-needs:
	@set -e; \
	install() { \
		if ! command -v apt-get >/dev/null; then may=no; \
		elif [ "$$(id -u)" = 0 ]; then may=; \
		elif sudo -n true 2>/dev/null; then may='sudo -n'; \
		else may=no; fi; \
		if [ "$$may" = no ]; then echo >&2 "missing, and make may not install it: install $$* (Debian's name)"; exit 1; fi; \
		echo "installing Debian's $$* through apt; the tests need it, no service of it"; \
		$$may apt-get update -qq; \
		$$may env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$$@" >/dev/null; \
	}; \
	command -v redis-server >/dev/null || install redis-server; \
	command -v "$$(go env CC)" >/dev/null || install gcc libc6-dev

check-format:
	@wrong=$$(gofmt -s -l $(SOURCES)); \
	[ -z "$$wrong" ] || { echo >&2 "not formatted (make format):"; echo >&2 "$$wrong"; exit 1; }

vet:
	go vet ./...
