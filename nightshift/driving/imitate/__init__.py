"""Driving learnt from examples: behaviour cloning, adversarial imitation, and reinforcement on top of imitation."""
