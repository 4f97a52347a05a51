"""`python -m celeriac.dev.demo`: the shop of this checkout at work, watched by the matrix."""
