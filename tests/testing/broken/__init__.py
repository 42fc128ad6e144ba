"""A plugin that passes, and what one changed line breaks in it."""
