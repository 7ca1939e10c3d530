# Thin fronts of scripts/bootstrap.py, which runs anywhere Python does.
PYTHON ?= python3

.PHONY: demo test fast clean
demo:  ; @$(PYTHON) scripts/bootstrap.py demo
test:  ; @$(PYTHON) scripts/bootstrap.py test
fast:  ; @$(PYTHON) scripts/bootstrap.py test --fast
clean: ; rm -rf build .venv
