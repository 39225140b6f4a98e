# make test   all that a change must pass, on a bare machine too
# make build  bin/coffer and bin/cofferd
# make bench  the benchmarks
# make fmt    the source, as gofmt wants it

GO        ?= go
FUZZTIME  ?= 2s   # for each fuzz target
FUZZBOUND ?= 700  # seconds for all of them together; what is left over is named
TIMEOUT   ?= 30m  # for the tests of one package

CLIENTS := interop/edv interop/hub

# Programs that the tests run. The S3 server is no tool of go.mod, whose requirements it would multiply.
TOOLS     := bin/tools
VERSITYGW := v1.8.0

.PHONY: test build bench fmt tools format vet staticcheck unit fuzz vulnerable clean
.SUFFIXES:

test: tools format vet staticcheck unit fuzz vulnerable

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/coffer ./cmd/cofferd

bench: export PATH := $(CURDIR)/$(TOOLS):$(PATH)
bench:
	$(GO) run ./internal/servers/with $(GO) test -run '^$$' -bench . -benchmem ./...

fmt:
	gofmt -w .

clean:
	rm -rf bin $(CLIENTS:=/node_modules)

# What a bare machine lacks: a C compiler for the race detector, the published JavaScript clients, PostgreSQL and an S3
# server. Of PostgreSQL only the programs are used: Debian is told to make and start no server of its own, unless it
# has done so already.
tools: $(CLIENTS:=/node_modules/.package-lock.json) $(TOOLS)/.versitygw-$(VERSITYGW)
	@lacking=; \
	for pair in gcc:gcc gcc:libc6-dev; do \
		command -v $${pair%%:*} >/dev/null || lacking="$$lacking $${pair#*:}"; \
	done; \
	if ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
		lacking="$$lacking postgresql"; \
	fi; \
	if [ -z "$$lacking" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "make: lacking:$$lacking; please install"; exit 0; \
	fi; \
	echo "make: installing$$lacking"; \
	alone=/etc/postgresql-common/createcluster.d/without.conf; \
	if [ ! -e /etc/postgresql ]; then mkdir -p "$${alone%/*}" && echo 'create_main_cluster = false' >"$$alone"; fi; \
	{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$lacking; } \
		>/dev/null || echo "make: could not install$$lacking"; \
	rm -f "$$alone"

# Two to nine minutes, once.
$(TOOLS)/.versitygw-$(VERSITYGW):
	@mkdir -p $(TOOLS); echo "make: building versitygw $(VERSITYGW), an S3 server for the tests"; \
	if GOBIN="$(CURDIR)/$(TOOLS)" GOFLAGS= CGO_ENABLED=0 $(GO) install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW); \
	then touch $@; elif [ "$$CI" = true ]; then exit 1; \
	else echo "make: could not; the tests that need it will be skipped"; fi

%/node_modules/.package-lock.json: %/package-lock.json %/.npmrc
	@if command -v npm >/dev/null; then cd $* && npm ci && touch node_modules/.package-lock.json; \
	elif [ "$$CI" = true ]; then echo "make: Node.js with npm is needed for $*"; exit 1; \
	else echo "make: no npm here: the tests in $* will be skipped"; fi

format:
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "make: run make fmt for:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

# Beside the real servers that some tests need. Never from the cache: some build and run our programs, which it does not
# see.
unit: export PATH := $(CURDIR)/$(TOOLS):$(PATH)
unit:
	$(GO) build -o $(TOOLS)/with ./internal/servers/with
	$(TOOLS)/with -quick $(GO) test -race -count=1 -timeout $(TIMEOUT) ./...

# Each fuzz target of the module in turn.
fuzz:
	@GO=$(GO) .ci/fuzz $(FUZZTIME) $(FUZZBOUND)

# A finding fails, an unreachable database does not: exit status 3 means that something was found.
vulnerable:
	@report=$$($(GO) tool govulncheck ./... 2>&1); status=$$?; \
	if [ $$status = 0 ]; then echo "govulncheck: nothing found"; \
	elif [ $$status != 3 ] && echo "$$report" | grep -q 'fetching vulnerabilities'; then \
		echo "govulncheck: its database cannot be reached from here; not checked"; \
	else echo "$$report"; exit 1; fi
