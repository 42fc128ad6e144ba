"""What builds the documentation: `python -m tools.reference` writes docs/reference, mkdocs runs `tools/site_hooks.py`. Not installed."""
