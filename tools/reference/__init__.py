"""docs/reference, from the specs and the source. A page is a function of what is declared; nothing here imports torch.

`python -m tools.reference` writes the pages, `python -m tools.reference --check` says which are stale (exit code 1).
"""
