"""`ADPlanning-v0`: a batched world of lanes and cars, its scenarios, its score, and the learners' faces to it."""
