"""Recipes drawn on a suite, judged by scorers, and set side by side: what `realcompo eval` does, resumable at every moment."""
