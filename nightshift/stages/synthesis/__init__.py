"""The stages of a synthesis: profile, physics, generate, quality, land."""
