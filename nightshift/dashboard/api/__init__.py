"""Routes that answer JSON, below `/api`."""
