"""Drawings as coordinates, which templates turn into inline SVG."""
