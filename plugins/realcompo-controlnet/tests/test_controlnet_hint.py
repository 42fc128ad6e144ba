"""The option of the drawn skeleton's width reaches the hint."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from realcompo_controlnet.branch import ControlNetBranch
from realcompo_controlnet.options import ControlNetOptions

import realcompo as rc


def test_the_stick_width_reaches_the_hint() -> None:
    pose = rc.Keypoints({"a dancer": {"nose": (0.5, 0.2), "neck": (0.5, 0.5)}})
    drawn = {}
    for width in (4, 12):
        branch = SimpleNamespace(spec=SimpleNamespace(id="x", condition="keypoints"), options=ControlNetOptions(stick_width=width))
        drawn[width] = int((np.asarray(ControlNetBranch.hint(branch, pose, (512, 512))).max(axis=2) > 0).sum())  # type: ignore[arg-type]
    assert drawn[12] > 2 * drawn[4]
    for width in (0, -1, 65, float("nan")):
        with pytest.raises(ValidationError):
            ControlNetOptions(stick_width=width)
