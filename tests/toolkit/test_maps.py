"""MapReader: the maps are the network's own, the rest of the network does not run, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from realcompo.errors import BadOption
from realcompo.toolkit import MapReader
from realcompo.toolkit.maps import attention_probabilities, check_places, cross_attention_places

FAMILIES = ("sd1", "sd2-v", "sdxl", "gligen")
REGION_WEIGHTS = torch.zeros(2, 2, 77)
REGION_WEIGHTS[0, 0, 3], REGION_WEIGHTS[0, 1, 5:7], REGION_WEIGHTS[1, 0, 2] = 1, 0.5, 1


@pytest.fixture(params=FAMILIES)
def unet(request: pytest.FixtureRequest, checkpoint: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(str(checkpoint(request.param)), subfolder="unet")


def arguments(unet: Any, batch: int = 2, side: tuple[int, int] = (16, 16)) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    told = {
        "sample": draw(batch, 4, *side),
        "timestep": 500,
        "encoder_hidden_states": draw(batch, 77, unet.config.cross_attention_dim),
    }
    if unet.config.addition_embed_type == "text_time":
        pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        told["added_cond_kwargs"] = {"text_embeds": draw(batch, pooled), "time_ids": draw(batch, 6)}
    return told


def with_lora(unet: Any) -> None:
    from peft import LoraConfig

    unet.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5)


def hooks(module: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(child, kind)) for child in module.modules() for kind in kinds)


@pytest.mark.parametrize("lora", [False, True], ids=["plain", "lora"])
def test_maps_times_values_are_the_modules_output(unet: Any, lora: bool) -> None:
    """A wrong scale or head split passes every other test."""
    places = cross_attention_places(unet)
    before = capture(unet, places)
    if lora:
        with_lora(unet)
    seen = capture(unet, places)
    assert len(seen) == len(places) > 4
    moved = 0.0
    for place in places:
        hidden, context, output = seen[place.name]
        attn: Any = place.module
        values = attn.to_v(context).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        probabilities = attention_probabilities(attn, hidden, context)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))
        rebuilt = attn.to_out[0]((probabilities @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(rebuilt, output, rtol=1e-5, atol=1e-5)
        moved = max(moved, float((output - before[place.name][2]).abs().max()))
    assert (moved > 0.1) == lora, "the LoRA must be felt"


def capture(unet: Any, places: list[Any]) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    seen = {}

    def hook(name: str) -> Any:
        def see(module: nn.Module, args: Any, kwargs: Any, output: torch.Tensor) -> None:
            seen[name] = (args[0], kwargs["encoder_hidden_states"], output)

        return see

    handles = [place.module.register_forward_hook(hook(place.name), with_kwargs=True) for place in places]
    with torch.no_grad():
        unet(**arguments(unet))
    for handle in handles:
        handle.remove()
    return seen


def test_map_is_the_mean_over_heads_places_and_tokens(unet: Any) -> None:
    reader = MapReader(unet, ("down", "up"), 2)
    seen = capture(unet, reader.places)
    with torch.no_grad():
        maps, result = reader.read(lambda: unet(**arguments(unet)), REGION_WEIGHTS, (16, 16))
        stack = [attention_probabilities(place.module, *seen[place.name][:2]).mean(1) for place in reader.places]
    mean = torch.stack(stack).mean(0).transpose(1, 2).unflatten(-1, (8, 8))
    torch.testing.assert_close(maps[0, 0], mean[0, 3])
    torch.testing.assert_close(maps[0, 1], (mean[0, 5] + mean[0, 6]) / 2)
    assert not maps[1, 1].any() and result is None


@pytest.mark.parametrize(("parts", "divisor"), [(("down",), 2), (("up",), 4), (("down", "up"), 4), (("down", "mid", "up"), 4)])
def test_nothing_runs_after_the_last_map(unet: Any, parts: tuple[str, ...], divisor: int) -> None:
    reader = MapReader(unet, parts, divisor)
    order: list[nn.Module] = []
    handles = [m.register_forward_pre_hook(lambda module, args: order.append(module)) for m in unet.modules()]
    last: Any = reader.places[-1].module
    with torch.no_grad():
        reader.read(lambda: unet(**arguments(unet)), REGION_WEIGHTS, (16, 16))
        ours, order[:] = list(order), []
        unet(**arguments(unet))
    for handle in handles:
        handle.remove()
    end = order.index(last)
    assert set(map(id, ours)) <= set(map(id, order[: end + 1])) | {id(last.to_q), id(last.to_k)}
    assert all(any(module is place.module for module in ours) for place in reader.places)
    assert len(ours) < len(order)


def test_the_rest_runs_without_a_graph(unet: Any) -> None:
    """The lagged form reads on the way to a prediction, which is the same as without reading."""
    told = arguments(unet)
    with torch.no_grad():
        plain = unet(**told, return_dict=False)[0]
    sample = told.pop("sample").requires_grad_()
    maps, result = MapReader(unet).read(lambda: unet(sample, **told, return_dict=False)[0], REGION_WEIGHTS, (16, 16), stop=False)
    assert torch.is_grad_enabled()
    assert not result.requires_grad
    torch.testing.assert_close(result, plain, rtol=1e-5, atol=1e-5)
    gradient = torch.autograd.grad(maps[:, 0, :2].sum(), sample)[0]
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_gradient_agrees_with_finite_differences(unet: Any) -> None:
    unet.double()
    told = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in arguments(unet).items()}
    if "added_cond_kwargs" in told:
        told["added_cond_kwargs"] = {k: v.double() for k, v in told["added_cond_kwargs"].items()}
    sample = told.pop("sample").requires_grad_()
    reader = MapReader(unet)

    def score(z: torch.Tensor) -> torch.Tensor:
        maps, _ = reader.read(lambda: unet(z, **told), REGION_WEIGHTS, (16, 16), dtype=torch.float64)
        assert maps.dtype == torch.float64
        return maps[0, 0, 1, 2] + 2 * maps[1, 0, 3, 0]

    (gradient,) = torch.autograd.grad(score(sample), sample)
    direction = torch.randn(sample.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        slope = (score(sample + 1e-5 * direction) - score(sample - 1e-5 * direction)) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)


def test_everything_is_as_it_was_also_after_an_error(unet: Any) -> None:
    reader = MapReader(unet)
    processors = dict(unet.attn_processors)
    awake = {name: i % 3 > 0 for i, (name, _) in enumerate(unet.named_parameters())}
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(awake[name])

    def check() -> None:
        assert hooks(unet) == 0
        assert {name: p.requires_grad for name, p in unet.named_parameters()} == awake
        assert all(unet.attn_processors[name] is processor for name, processor in processors.items())
        assert torch.is_grad_enabled()

    sample = arguments(unet)["sample"].requires_grad_()
    maps, _ = reader.read(lambda: unet(**{**arguments(unet), "sample": sample}), REGION_WEIGHTS, (16, 16))
    maps.sum().backward()
    assert all(parameter.grad is None for parameter in unet.parameters())
    check()
    with pytest.raises(RuntimeError):
        reader.read(lambda: unet(**{**arguments(unet), "sample": torch.zeros(2, 5, 16, 16)}), REGION_WEIGHTS, (16, 16))
    check()

    def interrupted() -> None:
        unet(**arguments(unet))

    broken = reader.places[-1].module.register_forward_pre_hook(raise_interrupt)  # fails before the last map is read
    reader.places[-1].module._forward_pre_hooks.move_to_end(broken.id, last=False)
    with pytest.raises(KeyboardInterrupt):
        reader.read(interrupted, REGION_WEIGHTS, (16, 16), stop=False)
    broken.remove()
    check()


def raise_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_odd_sizes(unet: Any) -> None:
    with torch.no_grad():
        maps, _ = MapReader(unet).read(lambda: unet(**arguments(unet, side=(18, 13))), REGION_WEIGHTS, (18, 13))
    assert maps.shape == (2, 2, 5, 4)


def test_no_such_place_says_where_there_are_some(unet: Any) -> None:
    with pytest.raises(BadOption, match=r"divided by 64\n  mend: it has some in .*down at 4"):
        MapReader(unet, ("up",), 64)


def test_the_config_tells_the_same_places_as_the_network(unet: Any) -> None:
    """What `check` says before weights are loaded is what the reader finds."""

    def allowed(see: Any, part: str, divisor: int) -> bool:
        try:
            see(part, divisor)
        except BadOption:
            return False
        return True

    wanted = [(part, divisor) for part in ("down", "mid", "up") for divisor in (1, 2, 4, 8, 16)]
    told = [pair for pair in wanted if allowed(lambda part, divisor: check_places(unet.config, (part,), divisor), *pair)]
    found = [pair for pair in wanted if allowed(lambda part, divisor: MapReader(unet, (part,), divisor), *pair)]
    assert told == found and ("down", 2) in told and ("down", 16) not in told
    check_places({}, ("down",), 16)  # a config that names no blocks refuses nothing
