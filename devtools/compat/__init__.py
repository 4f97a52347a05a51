"""Runs the tests on the oldest and newest releases that celeriac supports: `dev.py compat`."""
