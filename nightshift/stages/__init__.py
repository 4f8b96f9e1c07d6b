"""The stages of the chain: plain functions, one per module, each `run(cell, ctx) -> StageResult`."""
