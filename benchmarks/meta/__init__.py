"""Meta-RL beside its peers."""
