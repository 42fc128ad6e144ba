"""The mini family of RealCompo: a small world, two small diffusion models trained on it, and the planner of its language."""
