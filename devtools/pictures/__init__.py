"""The pictures of the documentation, from the running demo: `python3 dev.py pictures`.

It starts the demo with real workers. It writes the screens of the demo, `celeriac top` and
`celeriac trace` as SVG, and the pages of Flower as PNG, to docs/images/. The pages need Chromium,
on PATH or in CELERIAC_CHROMIUM.
"""
