"""The build of the mini world's people: big heads, short limbs. The hints that mini/pose was trained on are of such bodies."""

from __future__ import annotations

from realcompo.conditions.skeletons import Build

BUILD = Build(
    head=0.125,
    eyes=(0.03, 0.015),
    ears=0.075,
    shoulders=0.085,
    drop=0.015,
    hips=0.05,
    trunk=0.26,
    upper_arm=0.115,
    forearm=0.105,
    thigh=0.17,
    shin=0.17,
    crown=0.167,
    sole=0.052,
    flesh=0.055,
)
"""Lengths of the figure that train/people.py draws, in its own unit; a test holds one against the other."""
