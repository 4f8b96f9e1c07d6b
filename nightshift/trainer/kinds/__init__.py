"""Estimators by library: how each is seeded, fitted, stopped and written."""
