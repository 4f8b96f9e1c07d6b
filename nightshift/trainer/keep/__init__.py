"""Keeps a trained model in a folder: what is read back answers bit for bit alike, and runs no code of a stranger."""
