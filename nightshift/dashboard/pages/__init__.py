"""Routes that answer pages for people."""
