"""Meta-learning: a prior from a family of tasks, and teaching new tasks from it."""
