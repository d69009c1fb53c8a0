# make serve: the app on 127.0.0.1:5000.   make test: all tests.
# Each makes its own environment with pinned packages; nothing else is needed
# but Python 3.11 or newer and make.

# The first Python that runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
PORT ?= 5000
SERVE := .venv
TEST := .venv-test

NEED_PYTHON = test -n "$(PYTHON)" || { echo \
	"TumorLens needs Python 3.11 or newer. Run: sudo apt install python3" >&2; exit 1; }

.PHONY: serve test check bench fuzz soak docs docs-site wheel-check release-check \
	wheelhouse deploy-check audit sbom reproduce open beside scans strangers \
	clinical federated federation federation-sequences test-federated validation clean

serve: $(SERVE)/.ready
	$(SERVE)/bin/tumorlens serve --port $(PORT)

test: $(TEST)/.ready
	$(TEST)/bin/python -m pytest -n 2 --dist loadfile

check: $(TEST)/.ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports

bench: $(TEST)/.ready
	$(TEST)/bin/python -m bench

# Damaged files of every format, 10,000 of each from each of three engines, fed to
# the readers, as many runs at a time as there are processors. It goes on where it was
# stopped, after what stands in runs/fuzz.json; FUZZ takes more options.
fuzz: $(TEST)/.ready
	$(TEST)/bin/python -m pip install --quiet -c constraints.txt -e '.[fuzz]'
	$(TEST)/bin/python -m fuzz --json runs/fuzz.json $(FUZZ)

# Ten minutes of requests made from the OpenAPI document: no 5xx, and every answer as it
# is described there.
SOAK_SECONDS ?= 600
soak: $(TEST)/.ready
	TUMORLENS_SOAK_SECONDS=$(SOAK_SECONDS) $(TEST)/bin/python -m pytest -q \
		tests/web/openapi/test_schemathesis.py

$(SERVE)/.ready: pyproject.toml constraints.txt scripts/make_env.py
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py $(SERVE)
	$(SERVE)/bin/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(TEST)/.ready: pyproject.toml constraints.txt scripts/make_env.py
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py $(TEST)
	$(TEST)/bin/python -m pip install --quiet -c constraints.txt -e '.[train,tune,dev,docs,pacs,fhir,server,archive,client,signing,otel]'
	@touch $@

docs: $(TEST)/.ready
	$(TEST)/bin/python scripts/fill_docs.py

# The documentation as a website in build/site, which can also be read from disk: no
# page loads anything from another host. A broken link ends the build.
docs-site: $(TEST)/.ready
	NO_MKDOCS_2_WARNING=1 $(TEST)/bin/mkdocs build --strict --quiet

# The wheel, built into dist/ and tested by itself in an empty environment.
wheel-check: $(TEST)/.ready
	$(TEST)/bin/python scripts/check_release.py --wheel-only

# The same, and whether versions, changelog, tag and tree are ready (docs/releasing.md).
release-check: $(TEST)/.ready
	$(TEST)/bin/python scripts/check_release.py

# All wheels of an installation with PACS and PostgreSQL, and their hashes, for machines
# without a network (docs/deployment.md); in build/wheelhouse.
wheelhouse: $(TEST)/.ready
	$(TEST)/bin/python scripts/deployment.py wheelhouse

# All that is in deploy/ by its schemas (compose, Kubernetes, render.yaml, units, alerts by
# promtool where it is installed), an installation from the wheelhouse without a network,
# and the Dockerfile's steps.
deploy-check: $(TEST)/.ready
	$(TEST)/bin/python -m pytest -q tests/deploy
	$(TEST)/bin/python scripts/deployment.py air-gapped image

# Which of the pinned versions have a known vulnerability. It asks the package index about
# each, so it needs a network.
audit: constraints.txt
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py build/audit-tool
	build/audit-tool/bin/python -m pip install --quiet pip-audit
	build/audit-tool/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

# What is in such an installation, as CycloneDX: build/sbom.json.
sbom: pyproject.toml constraints.txt
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py build/sbom
	build/sbom/bin/python -m pip install --quiet -c constraints.txt '.[pacs,server]'
	$(PYTHON) scripts/make_env.py build/sbom-tool
	build/sbom-tool/bin/python -m pip install --quiet -c constraints.txt cyclonedx-bom
	build/sbom-tool/bin/cyclonedx-py environment --pyproject pyproject.toml \
		--output-reproducible --of JSON -o build/sbom.json build/sbom/bin/python

# The shipped model, from the data sets to the bundle runs/reproduced/folds/bundle: some
# three hours on 2 fast cores. Each of its five folds leaves out patients, hospitals and
# one or two of the eight other kinds of brain44. It goes on where it was stopped.
# TUMORLENS_DATA names the folder of the sets. The tables go to folds/report.
REPRODUCED := runs/reproduced
RECIPE := --network evidence-net-sequences --epochs 30 --early-share 0.75 \
	--final-rate 0.3 --ema 0.999 --transplant-share 0.12
KINDS := --keep schwannoma=0 --keep tuberculoma=0 --keep neurocytoma=1 \
	--keep carcinoma=2 --keep papilloma=3 --keep germinoma=3 \
	--keep medulloblastoma=4 --keep granuloma=4
KEPT := --keep CS=0 --keep FG=0 --keep ixi=1 --keep volumes=2
# Runs at the same time, each with one thread.
JOBS ?= 2
LENS := $(TEST)/bin/tumorlens
# A folder a class, of a series that lacks a slice, so its own slices are taken. The
# folder's name is the set's.
VOLUNTEER := $(REPRODUCED)/series/volumes
# With one thread TensorFlow adds in one order: the same weights, bit for bit.
TRAIN := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(LENS) train
HEALTHY := --also $(REPRODUCED)/ixi/ixi.csv --also $(REPRODUCED)/volumes/volumes.csv \
	--also $(REPRODUCED)/volunteer.csv
reproduce: $(REPRODUCED)/folds.csv
	$(TRAIN) --data $(REPRODUCED)/folds.csv --out $(REPRODUCED)/folds \
		--folds 5 $(RECIPE) --jobs $(JOBS)

$(REPRODUCED)/volunteer.csv: $(TEST)/.ready
	@test -d "$(TUMORLENS_DATA)/brain44" || { echo "Set TUMORLENS_DATA to the folder \
of the data sets (cheng, lgg, lgg_sequences, brain44, soop, notumor, brisc_notumor, \
volumes)." >&2; exit 1; }
	mkdir -p $(VOLUNTEER)
	$(LENS) data slices $(TUMORLENS_DATA)/volumes/IXI*.nii.gz --sequence T1 \
		--label no_tumor --source ixi --out $(REPRODUCED)/ixi
	$(LENS) data slices $(TUMORLENS_DATA)/volumes/t1_crop.nii.gz \
		$(TUMORLENS_DATA)/volumes/long_patient20_study2_T1W.nii.gz --sequence T1 \
		--label no_tumor --source volumes --out $(REPRODUCED)/volumes
	ln -sfn $(abspath $(TUMORLENS_DATA))/dicom/volunteer $(VOLUNTEER)/no_tumor
	$(LENS) data manifest $(VOLUNTEER) --out $@

$(REPRODUCED)/folds.csv: $(REPRODUCED)/volunteer.csv
	$(LENS) data manifest $(TUMORLENS_DATA) $(HEALTHY) --out $(REPRODUCED)/all.csv
	$(LENS) data split $(REPRODUCED)/all.csv --folds 5 $(KEPT) $(KINDS) --out $@

# What sets of open licence alone would give: the first two folds again, beside the same
# folds of `make reproduce`.
open: $(REPRODUCED)/folds.csv
	$(TRAIN) --data $(REPRODUCED)/folds.csv --out $(REPRODUCED)/open \
		--folds 5 --fold 0 --fold 1 $(RECIPE) --open-licences --jobs $(JOBS)
	mkdir -p docs/figures/open
	for fold in 0 1; do \
		$(LENS) sequences --data $(REPRODUCED)/folds.csv --fold $$fold \
			--model $(REPRODUCED)/folds/fold$$fold/bundle \
			--model $(REPRODUCED)/open/fold$$fold/bundle \
			--json docs/figures/open/$$fold.json || exit 1; \
	done

# Whole scans: fits and measures what the bundle says of them, on the folds' held-out
# patients, and writes it into the bundle. It needs `make reproduce` first.
BUNDLE ?= $(REPRODUCED)/folds/bundle
scans: $(TEST)/.ready
	$(LENS) data scans $(TUMORLENS_DATA) --out $(REPRODUCED)/scans.csv
	$(LENS) calibrate --scans $(REPRODUCED)/scans.csv --data $(REPRODUCED)/folds.csv \
		--folds $(REPRODUCED)/folds --model $(BUNDLE) --json docs/figures/scans.json

# What a network's parts are worth, on the first two folds of T1 and four classes alone:
# some three hours on 2 cores.
T1 := $(REPRODUCED)/t1
T1_RECIPE := --epochs 30 --early-share 0.5 --final-rate 0.3 --ema 0.999 \
	--transplant-share 0.12
BESIDE := --folds 5 --fold 0 --fold 1 $(T1_RECIPE) --jobs $(JOBS)
beside: $(REPRODUCED)/volunteer.csv
	mkdir -p $(T1) docs/figures/beside
	$(LENS) data manifest $(TUMORLENS_DATA) --set cheng --set lgg --set notumor \
		--set brisc_notumor $(HEALTHY) --out $(T1)/all.csv
	$(LENS) data split $(T1)/all.csv --folds 5 $(KEPT) --out $(T1)/folds.csv
	$(LENS) data split $(T1)/all.csv --folds 5 --by-slice --out $(T1)/random.csv
	$(TRAIN) --data $(T1)/folds.csv --out $(T1)/main $(BESIDE)
	$(TRAIN) --data $(T1)/folds.csv --out $(T1)/noevidence $(BESIDE) --evidence-loss 0
	$(TRAIN) --data $(T1)/folds.csv --out $(T1)/seed $(BESIDE) --network seed-cnn
	$(TRAIN) --data $(T1)/random.csv --out $(T1)/random $(BESIDE)
	for name in main noevidence seed random; do \
		cp $(T1)/$$name/report/figures.json docs/figures/beside/$$name.json; done

# Grade 2 or 3 of gliomas by image, columns (age, sex, side, lobe) and both
# (docs/clinical.md): five short runs from ImageNet weights, half an hour of one core.
# It goes on where it was stopped.
CLINICAL := $(REPRODUCED)/clinical
clinical: $(TEST)/.ready
	@test -d "$(TUMORLENS_DATA)/lgg_sequences" || { echo "Set TUMORLENS_DATA to the \
folder of the data sets (lgg, lgg_sequences)." >&2; exit 1; }
	mkdir -p $(CLINICAL)
	$(TEST)/bin/python scripts/lgg_grades.py $(TUMORLENS_DATA) $(CLINICAL)
	$(LENS) data split $(CLINICAL)/grades.csv --folds 5 --out $(CLINICAL)/folds.csv
	$(TRAIN) --data $(CLINICAL)/folds.csv --out $(CLINICAL)/folds --folds 5 \
		--epochs 6 --steps-per-epoch 50 --batch-size 16 --size 160 \
		--early-size 128 --early-share 0.5 --ema 0.98 --robustness 0 \
		--clinical $(CLINICAL)/columns.csv --jobs $(JOBS)
	cp $(CLINICAL)/folds/clinical/metrics.json docs/figures/clinical.json

# What needs Flower, whose pins do not fit the rest, has an environment of its own.
FEDERATED := .venv-federated
federated: $(FEDERATED)/.ready

$(FEDERATED)/.ready: pyproject.toml constraints-federated.txt scripts/make_env.py
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py $(FEDERATED)
	$(FEDERATED)/bin/python -m pip install --quiet -c constraints-federated.txt \
		-e '.[federated]' pytest
	@touch $@

test-federated: $(FEDERATED)/.ready
	$(FEDERATED)/bin/python -m pytest tests/cli/scale/test_federate.py \
		$(addprefix tests/scale/federation/test_,deployment.py privacy.py server.py)

# One model over five sites, beside all data in one place and each site alone, and what
# privacy costs. It goes on where it was stopped. FEDERATION_SCHEDULE is for a new study;
# this one takes some hours on 2 cores, and docs/federated.md names a longer one.
FEDERATION_SCHEDULE ?= --rounds 12 --local-steps 25 --size 160 --early-size 160
FEDERATION := $(REPRODUCED)/federation
comma := ,
SHARED_SETS := --set cheng --set lgg --set brisc_notumor
OWN_SETS := --set cheng --set lgg_sequences --set brain44 --set soop \
	--set brisc_notumor
# Folder, sets, columns that name a site, options of a new study, file of the figures.
define federation_study
	@test -d "$(TUMORLENS_DATA)/cheng" || { echo "Set TUMORLENS_DATA to the folder \
of the data sets (cheng, lgg, lgg_sequences, brain44, soop, brisc_notumor)." >&2; exit 1; }
	mkdir -p $(1)
	test -e $(1)/split.csv || { \
		$(FEDERATED)/bin/tumorlens data manifest $(TUMORLENS_DATA) $(2) \
			--out $(1)/all.csv && \
		$(FEDERATED)/bin/tumorlens data split $(1)/all.csv --out $(1)/split.csv; }
	$(FEDERATED)/bin/tumorlens federate simulate --study --by $(3) \
		--data $(1)/split.csv --out $(1)/study $$( \
		test -e $(1)/study/plan.json && echo --resume || echo $(4))
	$(FEDERATED)/bin/python -m json.tool --compact $(1)/study/study/metrics.json \
		docs/figures/$(5).json
endef

federation: $(FEDERATED)/.ready
	$(call federation_study,$(FEDERATION),$(SHARED_SETS),site$(comma)source,\
		$(FEDERATION_SCHEDULE),federation)

# The same where each site has sequences and classes of its own, by the network that
# ships.
federation-sequences: $(FEDERATED)/.ready
	$(call federation_study,$(FEDERATION)-sequences,$(OWN_SETS),source,\
		$(FEDERATION_SCHEDULE) --network evidence-net-sequences,federation-sequences)

# How tumour-free heads of strangers fare, whole and skull-stripped, by the network of
# the fold that leaves them out, so it needs `make reproduce` first.
STRANGERS := $(REPRODUCED)/strangers
SCORED := docs/figures/strangers
JUDGE := --model $(REPRODUCED)/folds/fold2/bundle --split all
strangers: $(TEST)/.ready
	mkdir -p $(SCORED)
	for head in t1_crop long_patient20_study2_T1W; do for skull in "" --stripped; do \
		$(LENS) data slices $(TUMORLENS_DATA)/volumes/$$head.nii.gz $$skull \
			--label no_tumor --source strangers --out $(STRANGERS)/$$head$$skull && \
		$(LENS) evaluate --data $(STRANGERS)/$$head$$skull/strangers.csv $(JUDGE) \
			--json $(SCORED)/$$head$$skull.json || exit 1; done; done
	$(LENS) evaluate --data $(VOLUNTEER) $(JUDGE) --json $(SCORED)/volunteer.json

# A validation by protocol at the two hospitals that the first fold left out; it needs
# `make reproduce` first. Some ten minutes on 2 cores.
VALIDATED ?= $(REPRODUCED)/folds/fold0/bundle
validation: $(TEST)/.ready
	$(TEST)/bin/python examples/validation/validate_lgg.py $(TUMORLENS_DATA) \
		$(REPRODUCED)/validation --model $(VALIDATED)
	$(TEST)/bin/python -m json.tool --compact \
		$(REPRODUCED)/validation/report/metrics.json docs/figures/validation.json

clean:
	rm -rf $(SERVE) $(TEST) $(FEDERATED) build dist
