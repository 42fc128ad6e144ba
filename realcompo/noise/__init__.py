"""Noise schedules, predictions and solvers; devices and precisions."""
