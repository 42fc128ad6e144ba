"""A stranger's branch that lacks what a run will ask of it is told in a sentence, when the composer is made or when it is loaded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.errors import PluginProblem, RealCompoError
from realcompo.interfaces import Branch
from realcompo.recipes.members import check_branch
from realcompo.registry import Registry
from realcompo.specs import BranchSpec, NoOptions
from realcompo.testing import toy_registry
from realcompo.testing.toys import TOY_TRAITS, ToyBranch
from tests.toyworld import PROMPT, TWO, toys

SPEC = BranchSpec(id="stranger/branch", summary="", role="spatial", condition="boxes", traits=TOY_TRAITS, guidance_scale=1.0)


def branch(**changed: Any) -> Branch:
    """A branch of a stranger's, with attributes of the instance replaced; `...` takes one away."""
    found = ToyBranch(SPEC, NoOptions())
    for name, value in changed.items():
        if value is ...:
            delattr(found, name)
        else:
            setattr(found, name, value)
    return found


def of_class(**changed: Any) -> Branch:
    """One of a class with attributes replaced."""
    return type("Stranger", (ToyBranch,), changed)(SPEC, NoOptions())


def raising(self: Any) -> Any:
    raise KeyError("unet")


INSTANCES = [(name, value) for name in ("spec", "options", "traits") for value in (..., None, 3, "x", {}, object)]
CLASSES = [
    *(("device", value) for value in (None, property(lambda self: None), property(raising), 3)),
    *(("dtype", value) for value in (None, property(lambda self: "float32"), property(raising))),
    *(
        (name, None)
        for name in (
            "encode",
            "predict",
            "predict_half",
            "attend",
            "to",
            "decode",
            "preview",
            "fingerprint",
            "remarks",
            "locate",
            "predict_unguided",
        )
    ),
    *(("traits", value) for value in (property(raising), property(lambda self: None))),
]
TRAITS: list[dict[str, Any]] = [
    {"latent": None},
    {"latent": replace(TOY_TRAITS.latent, channels=None)},
    {"latent": replace(TOY_TRAITS.latent, downscale=0)},
    {"schedule": None},
    {"default_size": None},
    {"default_size": (64,)},
    {"default_size": (64, None)},
    {"default_size": (64.0, 64)},
    {"size_multiple": 0},
    {"size_multiple": None},
    {"prediction_type": None},
    {"prediction_type": "x0"},
]


def refused(made: Branch, name: str) -> None:
    """As fidelity, as spatial and alone: with the class's name, the attribute and a mend."""
    for words in ((made,), (made, "toy/spatial"), ("toy/fidelity", made), ("toy/fidelity", ["toy/spatial", made])):
        with pytest.raises(PluginProblem, match=rf"the branch of class {type(made).__name__}: its.*{name}") as told:
            rc.Composer(*words, registry=toy_registry(), device="cpu")
        assert told.value.mend


@pytest.mark.parametrize(("name", "value"), INSTANCES)
def test_attributes_that_are_missing_or_of_another_kind(name: str, value: Any) -> None:
    refused(branch(**{name: value}), name)


@pytest.mark.parametrize(("name", "value"), CLASSES)
def test_methods_and_properties_that_are_none_or_raise(name: str, value: Any) -> None:
    class Settable(ToyBranch):
        def __setattr__(self, key: str, one: Any) -> None:
            with suppress(AttributeError):  # a property has the attribute's place
                super().__setattr__(key, one)

    refused(type("Stranger", (Settable,), {name: value})(SPEC, NoOptions()), name)


@pytest.mark.parametrize("changed", TRAITS)
def test_traits_that_no_picture_can_be_sized_by(changed: dict[str, Any]) -> None:
    refused(branch(traits=replace(TOY_TRAITS, **changed)), "traits say " + next(iter(changed)))


@pytest.mark.parametrize("id", [None, "", "branch", "/branch", "stranger/", 3])
def test_an_id_that_is_none(id: Any) -> None:
    refused(branch(spec=replace(SPEC, id=id)), "spec's id")


def test_what_a_plugin_builds_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch by its name is built when it is first used."""
    registry: Registry = toy_registry()
    composer = rc.Composer("toy/fidelity", "toy/spatial", registry=registry, device="cpu", num_inference_steps=2)
    monkeypatch.setattr(registry, "branch", lambda *_, **__: branch(traits=None))
    with pytest.raises(PluginProblem, match="its traits is None"):
        composer(PROMPT, TWO, seed=0)
    monkeypatch.setattr(registry, "branch", lambda *_, **__: None)
    with pytest.raises(PluginProblem, match="it is no Branch"):
        rc.Composer("toy/fidelity", "toy/spatial", registry=registry, device="cpu")(PROMPT, TWO, seed=0)


@pytest.mark.parametrize("thing", [None, 3, object(), ToyBranch, [None], {"name": None}])
def test_what_is_no_branch_at_all(thing: Any) -> None:
    for words in ((thing,), ("toy/fidelity", [thing])):
        with pytest.raises(RealCompoError) as told:
            rc.Composer(*words, registry=toy_registry(), device="cpu")
        assert told.value.mend


def test_a_complete_one_draws() -> None:
    """The control: nothing of a good branch is refused, a device that is told by its name included."""
    good = of_class(device=property(lambda self: "cpu"))
    check_branch(good)
    assert toys("toy/fidelity", good, dtype=torch.float32, num_inference_steps=2)(PROMPT, TWO, seed=0).image.size == (64, 64)


@pytest.mark.parametrize("wrong", ["narrow", "one", "tensor", "none"])
def test_a_prediction_of_another_shape_names_its_branch(wrong: str) -> None:
    """The control: as it is, the same branch draws."""
    stranger = branch()
    composer = toys(spatial=stranger, balancer="core/mean")
    composer(PROMPT, TWO, seed=1, output_type="latent")
    predict = stranger.predict

    def bad(*words: Any, **more: Any) -> Any:
        told = predict(*words, **more)
        made = {"narrow": told.noise[..., :-1], "one": told.noise[:1]}
        return replace(told, noise=made[wrong]) if wrong in made else (told.noise if wrong == "tensor" else None)

    stranger.predict = bad  # type: ignore[method-assign]
    with pytest.raises(PluginProblem, match=r"stranger/branch predicted .* at step 0 of 10, of latents \(2, 4, 8, 8\)"):
        composer([PROMPT] * 2, [TWO] * 2, seed=1)
