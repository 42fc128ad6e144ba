"""A plugin of pytest for `make test-deep`: hypothesis knows the profile `deep`. One of that name in a conftest counts instead."""

from hypothesis import settings

settings.register_profile("deep", max_examples=2000, deadline=None, print_blob=True)
