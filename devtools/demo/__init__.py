"""`python -m devtools.demo`: the shop of this checkout at work, watched by the matrix."""
