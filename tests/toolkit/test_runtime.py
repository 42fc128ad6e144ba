"""Networks compiled, laid out otherwise or fused: predictions and maps stay those of the network as it was loaded; it can be so again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.compose.probe import placement_slope
from realcompo.errors import BadOption, BadRecipe, DeviceError
from realcompo.interfaces import Runtime
from realcompo.noise.devices import check_compiler
from realcompo.noise.diffusion import Solver
from realcompo.registry import installed
from realcompo.testing.driving import relative, request
from realcompo.testing.sources import small_checkpoint
from realcompo.toolkit.runtime import as_loaded
from tests.toyworld import PROMPT, TWO, toys

WAYS: dict[str, dict[str, Any]] = {
    "regional": {"compile": "regional", "backend": "eager"},
    "channels last": {"channels_last": True},
    "fused": {"fuse_projections": True},
}


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """The small networks are shared with other tests of the process."""
    yield
    for branch in (sd(), gligen()):
        branch.tune(Runtime())
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def sd() -> Any:
    return installed().branch("sd/v1-5", source=small_checkpoint("sd1"))


def gligen() -> Any:
    return installed().branch("gligen/box", source=small_checkpoint("gligen"))


def controlnet() -> Any:
    return installed().branch("controlnet/pose-sdxl", {"base_source": small_checkpoint("sdxl")}, source=small_checkpoint("controlnet-sdxl"))


def asked(branch: Any) -> dict[str, torch.Tensor]:
    """Its prediction, its maps, and the slope of the loss."""
    told = request([PROMPT], conditions=[TWO if branch.spec.condition == "boxes" else None], size=(128, 128))
    if branch.spec.condition != "boxes":
        told = request([PROMPT], conditions=[TWO], size=(128, 128))
        told = type(told)(told.prompts, told.negative_prompts, told.regions, (None,), told.size, told.guidance_scale)
    conditioning = branch.encode(told)
    step = Solver("ddim", branch.traits.schedule, 10).steps[2]
    z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    loss, slope, maps = placement_slope(partial(branch.attend, step=step, conditioning=conditioning), z, told.regions, None)
    lagged = branch.predict(z, step, conditioning, read=True)
    return {
        "noise": branch.predict(z, step, conditioning).noise,
        "maps": maps,
        "slope": slope,
        "loss": loss,
        "maps of the pass that predicts": lagged.maps.detach(),
    }


COMPILED = [pytest.param(make, "regional", id=f"{make.__name__}-regional", marks=pytest.mark.deep) for make in (sd, gligen, controlnet)]
"""What takes the longest; a pipeline that was compiled layer by layer is read in every run (tests/toolkit/test_strange_files.py)."""


@pytest.mark.parametrize(
    ("make", "way"),
    [
        *COMPILED,
        *((pytest.param(make, way, id=f"{make.__name__}-{way}")) for make in (sd, gligen, controlnet) for way in WAYS if way != "regional"),
    ],
)
def test_predictions_and_maps_are_those_of_the_network_as_it_was(make: Any, way: str) -> None:
    """Guards maps that compiled code leaves out silently, and fused projections that are read in place of to_q and to_k."""
    branch = make()
    plain = asked(branch)
    assert plain["slope"].abs().max() > 0
    before = {name: dict(network.state_dict()) for name, network in branch.networks().items()}
    branch.tune(Runtime(**WAYS[way]))
    other = asked(branch)
    for name, value in plain.items():
        assert relative(value, other[name]) < 5e-5, name
    branch.tune(Runtime())
    again = asked(branch)
    for name, value in plain.items():  # not to the bit: weights that were laid out anew lie otherwise to the processor's lanes
        assert relative(value, again[name]) < 1e-5, f"{name} is not as it was"
    assert {name: network.state_dict().keys() for name, network in branch.networks().items()} == {n: s.keys() for n, s in before.items()}


def blocks(network: Any) -> list[Any]:
    return [module for module in network.modules() if type(module).__name__ == "BasicTransformerBlock"]


@pytest.mark.deep
def test_what_is_asked_for_happens() -> None:
    """Or each test above would pass by doing nothing."""
    branch = gligen()
    branch.tune(Runtime(compile="regional", backend="eager", channels_last=True, fuse_projections=True))
    unet = branch.unet
    assert all(one._compiled_call_impl is not None for one in blocks(unet)) and unet._compiled_call_impl is None
    assert unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last) and not unet.conv_in.weight.is_contiguous()
    assert "to_qkv.weight" in " ".join(unet.state_dict()) and {type(p).__name__ for p in unet.attn_processors.values()} == {
        "FusedAttnProcessor2_0"
    }
    from torch._dynamo.utils import counters

    counters.clear()
    asked(branch)
    assert counters["frames"]["ok"] > 0
    kept = blocks(unet)[0]._compiled_call_impl
    branch.tune(Runtime())
    assert all(one._compiled_call_impl is None for one in blocks(unet)) and unet.conv_in.weight.is_contiguous()
    branch.tune(Runtime(compile="regional", backend="eager"))
    assert blocks(unet)[0]._compiled_call_impl is kept, "compiled anew"
    branch.tune(Runtime(compile="whole", backend="eager"))
    assert unet._compiled_call_impl is not None and blocks(unet)[0]._compiled_call_impl is None


def test_gates_are_put_on_a_network_as_it_was_loaded() -> None:
    """A copy of a compiled, fused network would run code and projections of the other."""
    base = sd()
    base.tune(Runtime(compile="regional", backend="eager", fuse_projections=True))
    grafted = installed().branch(
        "gligen/box", {"base": "sd/v1-5", "base_source": small_checkpoint("sd1")}, source=small_checkpoint("gligen")
    )
    assert "to_qkv.weight" not in " ".join(grafted.unet.state_dict())
    first = asked(grafted)
    grafted.tune(Runtime(fuse_projections=True))
    torch.testing.assert_close(asked(grafted)["noise"], first["noise"], atol=1e-4, rtol=1e-4)
    as_loaded(base.unet)
    assert not [key for module in base.unet.modules() for key in vars(module) if "realcompo" in key]


def composer(**more: Any) -> rc.Composer:
    return rc.Composer(
        {"name": "sd/v1-5", "source": small_checkpoint("sd1")},
        {"name": "gligen/box", "source": small_checkpoint("gligen")},
        num_inference_steps=4,
        device="cpu",
        height=64,
        width=64,
        **more,
    )


@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.deep] * (way in ("regional", "channels last"))) for way in WAYS])
def test_a_run_draws_nearly_the_same_costs_the_same_and_carries_how(way: str) -> None:
    """Two composers share their networks: each runs them as it was told."""
    made, other = composer(), composer(runtime=WAYS[way])
    plain = made(PROMPT, TWO, seed=1, output_type="latent")
    told = other(PROMPT, TWO, seed=1, output_type="latent")
    torch.testing.assert_close(told.latents, plain.latents, atol=1e-3, rtol=1e-3)
    assert told.cost.parts == pytest.approx(plain.cost.parts), "counted as the same work"
    assert told.recipe.runtime.told() == Runtime(**WAYS[way]) and plain.recipe.runtime.told().plain
    again = made(PROMPT, TWO, seed=1, output_type="latent").latents
    assert relative(plain.latents, again) < 1e-4
    unet: Any = made.branches[0].unet  # type: ignore[attr-defined]
    assert unet.conv_in.weight.is_contiguous()
    assert all(one._compiled_call_impl is None for one in blocks(unet)), "its networks were left as the other had them"
    assert "Fused" not in " ".join(type(one).__name__ for one in unet.attn_processors.values())
    assert rc.Composer.from_recipe(told.recipe).runtime == other.runtime


@pytest.mark.deep
def test_inductor_draws_nearly_the_same() -> None:
    plain = composer()(PROMPT, TWO, seed=1, output_type="latent")
    told = composer(runtime={"compile": "regional"})(PROMPT, TWO, seed=1, output_type="latent")
    torch.testing.assert_close(told.latents, plain.latents, atol=1e-3, rtol=1e-3)


def test_what_cannot_be_is_said_before_weights_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionPipeline

    pipe: Any = StableDiffusionPipeline
    pipe = pipe.from_pretrained(small_checkpoint("sd1"))
    with pytest.raises(BadOption, match="pipeline that you hold"):
        rc.Composer(pipe, runtime={"channels_last": True})
    with pytest.raises(BadOption, match="cannot be compiled"):
        toys(runtime={"compile": "regional", "backend": "eager"})
    with pytest.raises(BadRecipe, match="regional"):
        composer(runtime={"compile": "sometimes"})
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError, match="C\\+\\+ compiler on cpu, and 'no-such-compiler' is not found") as found:
        composer(runtime={"compile": "regional"})
    assert "runtime.compile" in str(found.value.mend)
    composer(runtime={"compile": "regional", "backend": "eager"})


def test_what_a_compiler_needs_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Triton on CUDA; on a CPU Python's headers, too."""
    with monkeypatch.context() as patched:
        patched.setattr("realcompo.noise.devices.importlib.util.find_spec", lambda name: None)
        with pytest.raises(DeviceError, match="Triton"):
            check_compiler(torch.device("cuda"))
    monkeypatch.setenv("CXX", sys.executable)  # a program that is there
    monkeypatch.setattr("realcompo.noise.devices.sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(DeviceError, match=r"Python\.h is missing"):
        check_compiler(torch.device("cpu"))
    (tmp_path / "Python.h").touch()
    check_compiler(torch.device("cpu"))


def test_a_compiler_that_fails_is_explained() -> None:
    """What torch raises of its own compiler, at the first step."""
    from torch._dynamo.exc import TorchRuntimeError

    made = composer()

    def fail(runtime: Any) -> None:
        raise TorchRuntimeError("no such header\nmore", [])

    made.branches[0].tune = fail  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="cannot be compiled here: no such header") as found:
        made(PROMPT, TWO, seed=1)
    assert "runtime.compile" in str(found.value)


def test_options_of_a_recipe(tmp_path: Any) -> None:
    """By --set as by a table, with the key's own error."""
    from realcompo.recipes.configuration import resolve

    found = resolve({"runtime": {"channels_last": True}}, sets=["runtime.compile=regional"])
    assert found.recipe.runtime.told() == Runtime("regional", channels_last=True)
    wrong: Mapping[str, Any] = {"runtime": {"chanels_last": True}}
    with pytest.raises(Exception, match="channels_last"):
        resolve(wrong)
