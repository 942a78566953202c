# Short names for `python3 dev.py …`, which needs nothing but Python.
.PHONY: demo test check bench
demo test check:
	python3 dev.py $@
bench:
	for script in benchmarks/*.py; do python3 dev.py bench $$script; done
