"""Searches over settings: what each may be, the study that is gone on with, and trials judged fold by fold."""
