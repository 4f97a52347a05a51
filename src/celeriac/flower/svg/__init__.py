"""Pictures as coordinates: templates turn them into inline SVG."""
