"""Measurements of what the house promises about its own cost: each module prints its figures."""
