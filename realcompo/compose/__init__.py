"""Algorithm 1: the loop, what is checked before it, and the probe."""
