# `make help` lists the targets. Everything is installed into .venv; nothing outside this folder changes, except that
# `make test` installs Debian's chromium-headless-shell and postgresql if they are missing and the user may install packages.
PYTHON ?= python3
ARGS ?=

# Where the environment forbids bytecode files, every program that the tests start would compile all of Streamvis again.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
comma := ,
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input
# uv installs on all cores, in a fourth of pip's time. It does not read pip's configuration files: if it finds no packages, pip installs.
UV := UV_FIND_LINKS="$$PIP_FIND_LINKS" UV_CACHE_DIR=$(VENV)/uv VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv
INSTALL = $(PIP) install -qq uv -c constraints.txt && $(UV) pip install -q $(1) 2>/dev/null || $(PIP) install -qq --no-compile $(1)
# On all cores, what nearly every program imports. Anything else is compiled by the first program that imports it.
COMPILED := _pytest anyio bokeh click fastapi httptools hypothesis jinja2 narwhals numcodecs numpy packaging PIL platformdirs playwright \
	psutil psycopg psycopg_pool pyarrow pydantic starlette tornado typing_inspection urllib3 uvicorn uvloop watchfiles xyzservices yaml
COMPILE := cd $(VENV)/lib/python3*/site-packages && ../../../bin/python -m compileall -qq -j 0 -x '/tests?/' $(COMPILED) || true
NGINX := PATH="$$PATH:/usr/sbin:$(VENV)/nginx/usr/sbin" command -v nginx
HAPROXY := PATH="$$PATH:/usr/sbin:$(VENV)/haproxy/usr/sbin" command -v haproxy
PGBOUNCER := PATH="$$PATH:/usr/sbin:$(VENV)/pgbouncer/usr/sbin" command -v pgbouncer
POSTGRES := ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null || command -v postgres
CHROMIUM := command -v chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable

.PHONY: help demo test quick test-integrations bench lint docs package pictures chromium nginx haproxy postgresql pgbouncer libraries constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         install what the demo needs, and run it; ARGS=... go to 'streamvis demo'"
	@echo "make test         install what the tests need, and run them; ARGS=... go to pytest"
	@echo "make quick        run the tests that say most: the rules, the core, and one page from end to end"
	@echo "make test-integrations  install the frameworks that Streamvis integrates with, and run the tests with them"
	@echo "make bench        compare Streamvis with similar tools, which are installed into a cache; ARGS=--help lists options"
	@echo "make lint         check the code and its format with ruff, and the types in src with pyright"
	@echo "make docs         build the site of the docs into build/site, and check its links"
	@echo "make package      build the wheel and the source package into dist, install them into a new environment and try them"
	@echo "make pictures     create the pictures of the docs again; ARGS=NAME creates one"
	@echo "make libraries    fetch the JavaScript libraries of the shell again; LIBRARIES='preact@... htm@...' names other versions"
	@echo "make constraints  write constraints.txt again, with the newest releases"
	@echo "make clean        remove .venv and what the tests left"
	@echo "PYTHON=python3.12 makes .venv from that Python (after 'make clean', when there is one already)."

demo: $(VENV)/.installed-demo
	@$(VENV)/bin/streamvis demo $(ARGS)

test: $(VENV)/.installed-test chromium nginx haproxy postgresql pgbouncer
	@$(VENV)/bin/pytest $(ARGS)

# The rules for the code, the core without processes, one page that must equal a fresh one, and one from `send` to the pixel.
QUICK := tests/codebase \
	$(patsubst %,tests/unit/test_%.py,board filters following history intake joining limits live_track merging new_data panels \
		selection statements store store_interface transport) \
	tests/integration/test_live_equals_fresh.py \
	tests/browser/test_live_pages.py::test_the_quickstart_draws_three_growing_lines_in_any_order
quick: $(VENV)/.installed-test chromium
	@$(VENV)/bin/pytest -q $(QUICK) $(ARGS)

test-integrations: $(VENV)/.installed-integrations
	@$(VENV)/bin/pytest -n 0 tests/integrations $(ARGS)

bench: $(VENV)/.installed-test chromium
	@$(VENV)/bin/python benchmarks/run.py $(ARGS)

pictures: $(VENV)/.installed-test chromium
	@$(VENV)/bin/python docs/pictures.py $(ARGS)

lint: $(VENV)/.installed-lint
	@$(VENV)/bin/ruff check $(ARGS) .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/pyright

docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict $(ARGS)
	@echo "The docs are in build/site: open build/site/index.html in a browser."

# With what their own metadata names, in the newest releases: as people get them.
package: | $(VENV)/bin/python
	@$(PIP) install -qq uv -c constraints.txt
	@rm -rf dist && $(UV) build -q --out-dir dist
	@set -eu; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; new="$$scratch/bin/python"; $(PYTHON) -m venv "$$scratch"; \
	for one in dist/*.whl dist/*.tar.gz; do \
		$(UV) pip install -q --python "$$new" "$$one" --reinstall-package streamvis 2>/dev/null || \
			"$$new" -m pip --disable-pip-version-check install -qq --force-reinstall "$$one"; \
		echo "$$one: $$("$$new" tests/support/installed.py)"; \
	done

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Streamvis needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Name a newer one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Streamvis and its demo into $(VENV) (once, and again when pyproject.toml or constraints.txt change) ..."
	@$(call INSTALL,-e '.[demo]' -c constraints.txt)
	@$(COMPILE)
	@touch $@

# Holds what the demo needs too, so that both stamps are new after it.
$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Streamvis, its demo and its tests into $(VENV) (once, and again when pyproject.toml or constraints.txt change) ..."
	@$(call INSTALL,-e '.[test$(comma)demo]' -c constraints.txt)
	@$(COMPILE)
	@touch $(VENV)/.installed-demo $@

# Types are checked against the libraries that the tests have.
$(VENV)/.installed-lint: $(VENV)/.installed-test
	@echo "Installing ruff and pyright into $(VENV) ..."
	@$(call INSTALL,-e '.[lint]' -c constraints.txt)
	@touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the site of the docs needs into $(VENV) ..."
	@$(call INSTALL,-e '.[docs]' -c constraints.txt)
	@touch $@

# Holds what the tests need too.
$(VENV)/.installed-integrations: pyproject.toml constraints.txt constraints-integrations.txt | $(VENV)/bin/python
	@echo "Installing Streamvis, its tests and the frameworks that it integrates with into $(VENV) (some 400 MB) ..."
	@$(call INSTALL,-e '.[integrations-test$(comma)demo]' -c constraints.txt -c constraints-integrations.txt)
	@$(COMPILE)
	@touch $(VENV)/.installed-demo $(VENV)/.installed-test $@

# The headless shell of Chromium opens a tab with an eighth of the work. If it cannot be installed, any Chromium works. If no browser
# could be installed, the browser tests fail with the message of the last line; the other tests still run.
chromium:
	@command -v chromium-headless-shell >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	install() { $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$$@" fonts-liberation </dev/null >/dev/null 2>&1; }; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
		echo "Installing Debian's chromium-headless-shell for the browser tests ..."; \
		$$sudo apt-get update -qq </dev/null >/dev/null 2>&1; \
		install chromium-headless-shell || { $(CHROMIUM); } >/dev/null || install chromium; \
	fi; \
	{ $(CHROMIUM); } >/dev/null || echo "There is no Chromium for the browser tests. Install it: sudo apt-get install chromium" >&2

# Unpacked, not installed: an installed nginx would start to listen.
nginx: | $(VENV)/bin/python
	@$(NGINX) >/dev/null && exit 0; \
	if command -v apt-get >/dev/null; then \
		echo "Unpacking Debian's nginx into $(VENV) for the tests of pages behind a proxy ..."; \
		if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
		mkdir -p $(VENV)/nginx && cd $(VENV)/nginx && \
		{ apt-get download -qq nginx || { $$sudo apt-get update -qq && apt-get download -qq nginx; }; } </dev/null 2>/dev/null && \
		dpkg -x nginx_*.deb . && cd - >/dev/null; \
	fi; \
	$(NGINX) >/dev/null || echo "There is no nginx for the tests of pages behind a proxy. Install it: sudo apt-get install nginx-light" >&2

# Debian's package would start a server and keep it running: told not to make one, it only brings the programs.
postgresql:
	@{ $(POSTGRES); } >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
		echo "Installing Debian's postgresql for the tests of the store in a database ..."; \
		$$sudo mkdir -p /etc/postgresql-common && { [ -e /etc/postgresql-common/createcluster.conf ] || \
			echo "create_main_cluster = false" | $$sudo tee /etc/postgresql-common/createcluster.conf >/dev/null; }; \
		{ $$sudo apt-get update -qq && \
		  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql; } </dev/null >/dev/null 2>&1; \
	fi; \
	{ $(POSTGRES); } >/dev/null || echo "There is no PostgreSQL for the tests of the store in a database. Install it: sudo apt-get install postgresql" >&2

# Unpacked with what it needs, as nginx is: an installed one would start to listen.
pgbouncer: | $(VENV)/bin/python
	@$(PGBOUNCER) >/dev/null && exit 0; \
	if command -v apt-get >/dev/null; then \
		echo "Unpacking Debian's pgbouncer into $(VENV) for the tests of endpoints behind a pooler ..."; \
		if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
		mkdir -p $(VENV)/pgbouncer && cd $(VENV)/pgbouncer && \
		download() { apt-get download -qq pgbouncer libc-ares2 libevent-2.1-7 </dev/null 2>/dev/null; }; \
		{ download || { $$sudo apt-get update -qq </dev/null >/dev/null 2>&1 && download; }; } && \
		for one in *.deb; do dpkg -x "$$one" .; done; cd - >/dev/null; \
	fi; \
	$(PGBOUNCER) >/dev/null || echo "There is no PgBouncer for the tests of endpoints behind a pooler. Install it: sudo apt-get install pgbouncer" >&2

# Two megabytes, unpacked with what it needs, as PgBouncer is.
haproxy: | $(VENV)/bin/python
	@$(HAPROXY) >/dev/null && exit 0; \
	if command -v apt-get >/dev/null; then \
		echo "Unpacking Debian's haproxy into $(VENV) for the tests of endpoints behind a load balancer ..."; \
		if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
		mkdir -p $(VENV)/haproxy && cd $(VENV)/haproxy && \
		download() { apt-get download -qq haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 </dev/null 2>/dev/null; }; \
		{ download || { $$sudo apt-get update -qq </dev/null >/dev/null 2>&1 && download; }; } && \
		for one in *.deb; do dpkg -x "$$one" .; done; cd - >/dev/null; \
	fi; \
	$(HAPROXY) >/dev/null || echo "There is no HAProxy for the tests of endpoints behind a load balancer. Install it: sudo apt-get install haproxy" >&2

# The shell's program runs as it stands, so its libraries are kept in the package: modules that name each other by their files.
LIBRARIES ?= preact@11.2.0 htm@3.1.1
KEPT := src/streamvis/shell/static/libraries
libraries:
	@set -eu; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; rm -rf $(KEPT); mkdir -p $(KEPT); \
	for one in $(LIBRARIES); do \
		name=$${one%@*}; mkdir "$$scratch/$$name"; \
		tar xzf "$$scratch/$$(cd "$$scratch" && npm pack --silent "$$one")" -C "$$scratch/$$name" --strip-components=1; \
		cp "$$scratch/$$name/LICENSE" "$(KEPT)/$$name.LICENSE"; \
	done; \
	for file in preact/dist/preact preact/hooks/dist/hooks htm/dist/htm; do \
		sed -e 's#from"preact"#from"./preact.js"#g' -e 's#//\# sourceMappingURL=.*##' "$$scratch/$$file.mjs" >"$(KEPT)/$$(basename $$file).js"; \
	done; \
	echo "$(LIBRARIES)" | tr ' ' '\n' >$(KEPT)/VERSIONS

# torch is held: newer releases come with several gigabytes of CUDA. The second file has what the frameworks need beyond the first.
FREEZE = "$$scratch/venv/bin/python" -m pip --disable-pip-version-check freeze --all | grep -vE '^(pip|streamvis|torch)\b'
constraints:
	@set -eu; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; grep '^torch==' constraints.txt >"$$scratch/held.txt"; \
	"$$scratch/venv/bin/python" -m pip --disable-pip-version-check install -qq '.[dev]' uv -c "$$scratch/held.txt"; \
	{ grep '^#' constraints.txt; \
	  { $(FREEZE); cat "$$scratch/held.txt"; } | LC_ALL=C sort -f; \
	} >"$$scratch/constraints.txt"; \
	"$$scratch/venv/bin/python" -m pip --disable-pip-version-check install -qq '.[integrations-test]' -c "$$scratch/constraints.txt"; \
	{ grep '^#' constraints-integrations.txt; $(FREEZE) | grep -vxFf "$$scratch/constraints.txt" | LC_ALL=C sort -f; } >"$$scratch/more.txt"; \
	cp "$$scratch/constraints.txt" constraints.txt; cp "$$scratch/more.txt" constraints-integrations.txt

clean:
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
