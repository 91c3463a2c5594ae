"""Young ideas, whole and tested: learned optimisers and drifts, and RL²."""
