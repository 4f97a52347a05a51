"""The speed of celeriac and of comparable tools, on the same work in the same run.

`python3 dev.py bench` runs it. `table` defines the measurements and their goals. `rounds`
alternates between the candidates, because on a shared machine only ratios within one run are
meaningful.
"""
