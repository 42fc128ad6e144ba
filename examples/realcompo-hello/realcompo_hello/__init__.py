"""Declares two branches of one class. Data only: torch is imported when a branch is first built."""

from realcompo import hookimpl
from realcompo.specs import BranchSpec, LatentSpace, Traits

REALCOMPO_API = 1  # the plugin API that this was written for

HELLO = {
    "target": "realcompo_hello.branch:HelloBranch",
    "traits": Traits(LatentSpace("toy", scaling_factor=1.0), "hello", default_size=(64, 64)),
    "guidance_scale": 1.0,
}


@hookimpl
def register_branches():
    yield BranchSpec(id="hello/fidelity", role="fidelity", summary="a world without things", **HELLO)
    yield BranchSpec(id="hello/boxes", role="spatial", condition="boxes", summary="a world with things in boxes", **HELLO)
