"""The comparison: every balance against its rivals on scenes whose truth is known.

``python -m realcompo_mini.compare draw`` draws and judges (resumable), ``report`` turns the raw records into tables and the frontier.
"""
