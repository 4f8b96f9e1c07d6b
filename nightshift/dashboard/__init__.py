"""The training page and its API: a FastAPI service that reads records, the registry and Prefect, and starts runs."""
