"""What is done about a rare class: to train rows alone, or to the threshold."""
