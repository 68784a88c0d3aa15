# Myriad: the two commands that matter are `make demo` and `make test`.
# Both install what they need from Debian's packages, and say so.

GO        ?= go
SUDO      := $(if $(filter 0,$(shell id -u)),,sudo)
BIN       := bin/myriad
PACKAGES  := ca-certificates iproute2 iputils-ping
TESTTOOLS := clustershell iperf3 procps openssh-server
FUZZTIME  ?= 10s

.PHONY: all build demo test test-vm quick lint generate bench fuzz clean packages testtools clang

all: build

build: ## build the command
	$(GO) build -trimpath -o $(BIN) ./cmd/myriad

demo: packages build ## 1,000 vnodes up, checked, used, measured and taken down
	$(SUDO) ./examples/demo.sh $(abspath $(BIN))

test: packages testtools build ## every test as root, no skip allowed, nothing left behind
	$(SUDO) env "PATH=$(PATH)" "HOME=$(HOME)" ./.ci/test

test-vm: packages ## kernel, links, netem beside them, and two machines as pnodes, on Debian's own kernel in QEMU (VM=short: the least of it)
	@./.ci/install qemu-system-x86 busybox-static iperf3
	$(SUDO) env "PATH=$(PATH)" "HOME=$(HOME)" ./.ci/test-vm $(VM)
	$(SUDO) env "PATH=$(PATH)" "HOME=$(HOME)" ./.ci/test-pnodes

quick: ## what anyone can run, in seconds
	$(GO) test ./...

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

generate: clang ## compile the eBPF programs again
	$(GO) generate ./...

bench: packages build ## the tables of README
	$(SUDO) ./bench/run.sh $(abspath $(BIN))

fuzz: ## each fuzz target for FUZZTIME
	./.ci/fuzz $(FUZZTIME)

clean:
	rm -rf bin out

packages:
	@./.ci/install $(PACKAGES)

testtools:
	@./.ci/install $(TESTTOOLS)

clang:
	@./.ci/install clang llvm libbpf-dev
