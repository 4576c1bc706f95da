# Qiong. `make help` lists what there is.
GO          ?= go
BIN         := bin/qiong
EXPERIMENT  := $(shell $(GO) env GOVERSION | grep -q '^go1\.26' && echo goroutineleakprofile)
ARCHES      := amd64 arm64 loong64
PURE        := ./kit/errs ./kit/lang ./kit/ident ./kit/beijing ./kit/dialect ./kit/han ./kit/han/gb18030 ./kit/label ./kit/label/jsonmask ./kit/label/plan ./kit/gm/... ./kit/merkle ./kit/receipt ./kit/recordio ./kit/rule ./kit/saga ./kit/schema ./kit/strictjson ./kit/leak/stack ./service/booking/ledger ./service/booking/room ./service/booking/ticket ./tool/bench/http1 ./tool/bench/schedule ./tool/bench/tally
export CGO_ENABLED ?= 0
RECEIPT     := web/receipt
VERIFY      := service/evidence/web/dist/verify.js

.PHONY: help build web run test test-web test-engines race lint cross qemu fuzz soak-kill bench clean $(addprefix bench-,saga submit case up han label exchange evidence booking leak wal load)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/qiong, with the goroutine-leak profile where Go has it, and bin/qiong-verify
	@command -v npm >/dev/null && $(MAKE) --no-print-directory web || echo "without npm: pages of this program do not verify receipts in the browser"
	GOEXPERIMENT=$(EXPERIMENT) $(GO) build -trimpath -o $(BIN) ./cmd/qiong
	$(GO) build -trimpath -ldflags '-s -w' -o $(BIN)-verify ./cmd/qiong-verify

web: $(VERIFY) ## build the module that verifies receipts in the browser, with npm

$(VERIFY): $(RECEIPT)/node_modules/.package-lock.json $(RECEIPT)/build.js $(wildcard $(RECEIPT)/src/*)
	cd $(RECEIPT) && npm run --silent build

$(RECEIPT)/node_modules/.package-lock.json: $(RECEIPT)/package.json $(RECEIPT)/package-lock.json
	cd $(RECEIPT) && npm ci --loglevel=error --no-audit --no-fund
	@touch $@

run: build ## build, then show the main job and leave the house running until Ctrl-C
	@exec $(BIN) demo --data qiong-demo

test: lint race test-web cross qemu ## all that must hold, on embedded engines

lint: ## formatting and vet, in every module
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	cd bench && $(GO) vet ./...

race: ## the tests, under the race detector where there is a C compiler
	@if command -v gcc >/dev/null; then CGO_ENABLED=1 $(GO) test -race -timeout 9m ./...; else $(GO) test -timeout 9m ./...; fi

test-web: ## the tests of the module that verifies receipts in the browser, where Node.js is installed
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web && cd $(RECEIPT) && npm test --silent; else echo "Node.js is not installed: the tests of $(RECEIPT) are left out"; fi

cross: ## build for every architecture without cgo
	@for a in $(ARCHES); do echo "build linux/$$a"; GOOS=linux GOARCH=$$a $(GO) build -o /dev/null ./cmd/qiong && GOOS=linux GOARCH=$$a $(GO) build -o /dev/null ./cmd/qiong-verify || exit 1; done

qemu: ## tests of pure packages on arm64 and loong64, under emulation where it is installed
	@scripts/qemu-test $(PURE)

test-engines: ## the same tests on a real PostgreSQL and a real MariaDB, installed and started here
	scripts/with-mariadb scripts/with-postgres $(GO) test -count=1 -timeout 15m ./...
	scripts/with-icu $(GO) test -count=1 -run ICU ./kit/han/gb18030

soak-kill: build ## a thousand kills at random moments; nothing accepted is lost
	QIONG_KILLS=1000 $(GO) test -count=1 -timeout 2h -run 'TestKill' -v ./cmd/qiong

fuzz: ## a minute of fuzzing for every parser
	scripts/fuzz 60s

bench: bench-saga bench-submit bench-case bench-up bench-han bench-label bench-exchange bench-evidence bench-booking bench-leak bench-wal bench-load ## every measurement of doc/bench.md

bench-saga: ## sagas beside dtm and a hand-written loop
	cd bench && $(GO) run ./saga

bench-submit: build ## submissions beside Gin + pgx, closed and open loop
	cd bench && $(GO) run ./submit

bench-case: build ## Qiong's own share of a case, decided cases a second, a province's day
	cd bench && $(GO) run ./case

bench-up: build ## time to health and memory of an idle house
	cd bench && $(GO) run ./up

bench-han: ## GB 18030 beside x/text and iconv, the check for NFC
	cd bench && $(GO) run ./han

bench-label: ## masking JSON by any values, Go types and bytes; the gate in front of a route
	cd bench && $(GO) run ./label

bench-exchange: build ## the intake of a file beside a hand-written importer; memory of a large one
	cd bench && $(GO) run ./exchange

bench-evidence: build ## receipts by a council of four and alone: latency, rates, an agency away, disk and memory
	cd bench && $(GO) run ./evidence

bench-booking: build ## bookings beside a no-op, Redis and PostgreSQL; the engine, a rush, a start from the log (needs redis-server)
	cd bench && $(GO) run ./booking

bench-leak: ## what labels cost a request, time of a collection, a clean soak
	cd bench && GOEXPERIMENT=$(EXPERIMENT) $(GO) run ./leak

bench-wal: ## the log beside raw write and fdatasync of the same bytes; reading it again
	cd bench && $(GO) run ./wal

bench-load: build ## what qiong bench costs beside wrk
	cd bench && $(GO) run ./load

clean: ## remove what was built
	rm -rf bin $(VERIFY)
