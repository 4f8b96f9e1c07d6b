"""How driving policies learn: the loop, its checkpoints and what it writes down, and SB3's learners on the world."""
