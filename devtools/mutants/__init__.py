"""`python -m devtools.mutants`: put faults into the code, and see which the tests notice."""
