"""How fast celeriac is, beside its peers, on the same work in the same run.

`python3 dev.py bench` runs it. `table` says what is measured and what the goals are; `rounds` takes
turns between the contestants, because on a shared machine only ratios within one run say anything.
"""
