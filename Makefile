# Every target here is what CI runs, so green here is green there.
# The first three need a Debian with root; they install what is missing and say so.

GO   ?= go
N    ?= 20
TIME ?= 30s

.DEFAULT_GOAL := help
.PHONY: help build demo test check up down lab chaos fuzz powercut bench bench-archive bench-cluster docs vuln clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the binary, static and reproducible, as bin/ballast
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ballast ./cmd/ballast

demo: build ## Redis in Docker Swarm survives what a machine can do to it (a minute; touches nothing of yours)
	@scripts/install-packages demo
	@$(GO) build -o bin/demo ./test/demo
	@bin/demo

up: build ## start Ballast for this machine's Docker Engine
	@scripts/install-packages up
	@scripts/node up

down: ## undo what "make up" did; volumes are kept
	@scripts/node down

test: build ## every test that this machine can run; says what it left out, and why
	@scripts/install-packages build test || echo "Going on without: what needs them is left out, and said."
	@scripts/test

check: bin/golangci-lint ## format, vet, lint, layers, go.mod: what must hold before a commit
	@scripts/check

lab: build ## three nodes and a prompt to try and break things: make lab N=5
	@scripts/install-packages demo
	@$(GO) run ./test/lab/labshell -n $(if $(filter file,$(origin N)),3,$(N)) $(ARGS)

fuzz: ## every parser is fuzzed for a while: make fuzz TIME=10m
	@scripts/fuzz $(TIME)

powercut: build ## cut the power under a real kernel: make powercut N=200
	@scripts/install-packages test
	$(GO) run ./test/powercut -n $(N)

chaos: build ## lose a cluster's primary: make chaos N=300, or REBUILD=200 (SEED=… repeats)
	@scripts/install-packages demo test
	$(GO) run ./test/chaos -n $(if $(REBUILD),0,$(N)) -rebuilds $(or $(REBUILD),0) $(if $(SEED),-seed $(SEED)) $(ARGS)

bench: build ## compare with a plain directory and with GlusterFS (an hour; ARGS=-help)
	@scripts/install-packages bench
	$(GO) run ./test/bench $(ARGS)

bench-archive: build ## what archiving costs and how fast a volume is back, against restic (half an hour; ARGS=-help)
	@scripts/install-packages bench bench-archive
	$(GO) run ./test/bench/archive $(ARGS)

bench-cluster: build ## what a synchronous copy costs, failing over, moving, catching up (hours; ARGS=-help)
	@scripts/install-packages bench demo
	$(GO) run ./test/bench/cluster $(ARGS)

docs: ## bring the man pages and scripts' expected outputs up to date; review the difference
	UPDATE=1 $(GO) test -count=1 ./cmd/ballast

# Not part of check: it asks vuln.go.dev, so the same source may fail tomorrow.
vuln: ## known vulnerabilities that our code can reach (asks vuln.go.dev)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.6.0 ./...

clean: ## remove what was built here
	rm -rf bin

# Built from its pinned source; the first time takes minutes.
bin/golangci-lint: tools/go.mod
	@echo "building golangci-lint, which takes some minutes the first time …"
	cd tools && CGO_ENABLED=0 $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
