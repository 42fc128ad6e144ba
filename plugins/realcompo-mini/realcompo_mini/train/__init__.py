"""Renders the mini world and trains the family on it. Needs the extra `train`; nothing here is imported to draw pictures."""
