"""Several adapters on one branch: what diffusers' `set_adapters` draws, sums that know no order, and other sets without another load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import realcompo as rc
from realcompo.draw import kept
from realcompo.errors import BadCheckpoint, RealCompoError
from realcompo.noise.diffusion import Solver
from realcompo.recipes.recipe import Recipe
from realcompo.registry import Registry
from realcompo.specs import BranchSpec
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.toolkit import UNetBranch, UNetOptions
from realcompo.toolkit.loading import Loader
from tests.toolkit.small_loras import noise, pipeline, save_lora

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 4
SCALES = (0.8, -0.6)
Fetch = Callable[[str], Path]


@pytest.fixture(scope="module")
def two(checkpoint: Fetch, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two LoRAs in diffusers' format: of UNet and text encoder, and of other modules and some of the same."""
    torch.manual_seed(0)
    each = ({"unet": ["to_q", "to_v"], "text_encoder": ["q_proj"]}, {"unet": ["to_q", "conv1"], "text_encoder": ["q_proj", "v_proj"]})
    base = checkpoint("sd1")
    return [save_lora(base, tmp_path_factory.mktemp(f"lora{n}"), parts, 2 + n, 0.4) for n, parts in enumerate(each)]


def branch(folder: Path, **options: Any) -> UNetBranch:
    return UNetBranch(SPEC, UNetOptions(**options), source=str(folder))


def draw(one: UNetBranch) -> torch.Tensor:
    return draw_alone(one, request((PROMPT,), negatives=(NEGATIVE,)), noise(), scheduler="ddim", steps=STEPS)


def test_two_at_two_scales_are_what_diffusers_draws(checkpoint: Fetch, two: list[Path]) -> None:
    folder, files = checkpoint("sd1"), tuple(map(str, two))
    pipe = pipeline(folder)
    for name, file in zip("ab", two, strict=True):
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
    pipe.set_adapters(["a", "b"], list(SCALES))
    one = branch(folder, lora=files, lora_scale=SCALES)
    pipe.scheduler = Solver("ddim", one.traits.schedule, STEPS).scheduler
    theirs = pipe(
        PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, height=128, width=128, latents=noise(), output_type="latent"
    ).images
    mine = draw(one)
    assert relative(theirs, mine) < 1e-4
    for n in (0, 1):  # the control: each is felt at its own scale
        assert relative(mine, draw(branch(folder, lora=files[n], lora_scale=SCALES[n]))) > 1e-2
    assert relative(mine, draw(branch(folder, lora=files))) > 1e-2
    assert set(one.fingerprint()["lora"].split(" + ")) == {
        branch(folder, lora=file, lora_scale=scale).fingerprint()["lora"] for file, scale in zip(files, SCALES, strict=True)
    }


def test_the_order_is_of_no_account(checkpoint: Fetch, tmp_path: Path) -> None:
    """Two DoRAs of one module, whose lengths are of the weight as it was loaded."""
    folder, stem = checkpoint("sd1"), "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    torch.manual_seed(0)
    files = []
    for n in range(2):
        state = {"lora_down.weight": torch.randn(2, 8), "lora_up.weight": torch.randn(8, 2), "dora_scale": torch.rand(1, 8) + 0.5}
        files.append(str(tmp_path / f"{n}.safetensors"))
        save_file({f"{stem}.{name}": tensor for name, tensor in state.items()}, files[-1])

    def weight(*chosen: str) -> torch.Tensor:
        found = branch(folder, **({"lora": chosen} if chosen else {})).unet
        return found.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight.detach()  # type: ignore[no-any-return]

    plain, each = weight(), [weight(file) for file in files]
    both = weight(*files)
    torch.testing.assert_close(both, weight(*reversed(files)))
    torch.testing.assert_close(both - plain, each[0] + each[1] - 2 * plain)
    assert (each[0] - plain).abs().max() > 1e-2 < (each[1] - plain).abs().max()


def test_switched_it_is_as_loaded_anew(checkpoint: Fetch, two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, with no network loaded; a set that cannot be put on leaves none half done."""
    folder, files = checkpoint("sd1"), tuple(map(str, two))
    want = {part: net.state_dict() for part, net in branch(folder, lora=files[1], lora_scale=0.3).networks().items()}
    plain = {part: net.state_dict() for part, net in branch(folder).networks().items()}
    one, untouched = branch(folder, lora=files, lora_scale=SCALES), branch(folder)
    monkeypatch.setattr(Loader, "_load", lambda *_: pytest.fail("a network was loaded"))

    def equal(table: dict[str, Any]) -> bool:
        return all(torch.equal(tensor, table[part][n]) for part, net in one.networks().items() for n, tensor in net.state_dict().items())

    assert not equal(want)
    assert one.switch(UNetOptions(lora=files[1], lora_scale=0.3)) and equal(want)
    assert one.fingerprint()["lora"].endswith("at 0.3")
    spoiled = tmp_path / "nan.safetensors"
    save_file({n: t * float("nan") if "to_q" in n else t for n, t in load_file(files[0]).items()}, str(spoiled))
    with pytest.raises(BadCheckpoint, match="overflowed"):
        one.switch(UNetOptions(lora=(files[1], str(spoiled))))
    assert equal(plain) and one.switch(UNetOptions()) and equal(plain)
    assert not one.switch(UNetOptions(map_divisor=2)), "what is no adapter is not switched"
    assert not untouched.switch(UNetOptions(lora=files[0])), "its networks may be another branch's too"


def test_the_kept_composer_hands_its_branches_on(checkpoint: Fetch, two: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(**options: Any) -> Recipe:
        entry = {"name": "sd/v1-5", "role": "fidelity", "source": str(checkpoint("sd1")), "options": options}
        return Recipe.model_validate({"branches": [entry, {"name": "gligen/box", "source": str(checkpoint("gligen"))}]})

    registry = Registry()
    monkeypatch.setattr(kept, "_kept", None)
    first = kept.composer_of(recipe(lora=str(two[0])), registry)
    loaded = list(first.branches)
    monkeypatch.setattr(Loader, "_load", lambda *_: pytest.fail("a network was loaded"))
    second = kept.composer_of(recipe(lora=[str(two[0]), str(two[1])], lora_scale=[1, 0.5]), registry)
    assert second is not first and second.branches == loaded
    assert second.facts(second._solver(4))["weights"]["sd/v1-5"]["lora"].endswith("at 0.5")
    third = kept.composer_of(recipe(), registry)
    assert third.branches == loaded and "lora" not in third.branches[0].fingerprint()
    other = kept.composer_of(recipe(map_divisor=2), registry)
    assert other._branches is None


def test_bad_lists(checkpoint: Fetch, two: list[Path], tmp_path: Path) -> None:
    files = [str(file) for file in two]
    for told, said in (
        ({"lora": files, "lora_scale": [0.5]}, "1 numbers for 2 LoRAs"),
        ({"lora_scale": [0.5]}, "1 numbers for 0 LoRAs"),
        ({"lora": files, "lora_scale": [0.5, float("nan")]}, "finite"),
        ({"lora": files[0], "lora_scale": float("inf")}, "finite"),
    ):
        with pytest.raises(RealCompoError, match=said):
            rc.Composer({"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": told})
    with pytest.raises(BadCheckpoint, match="no such LoRA"):
        UNetBranch.inspect(SPEC, UNetOptions(lora=(files[0], "gone.safetensors")), str(checkpoint("sd1")))
    other = tmp_path / "xl.safetensors"
    name = "lora_unet_down_blocks_9_attentions_0_transformer_blocks_0_attn2_to_k.lora_"
    save_file({f"{name}down.weight": torch.ones(2, 2048), f"{name}up.weight": torch.ones(16, 2)}, str(other))
    with pytest.raises(BadCheckpoint, match="it is for SDXL"):  # from its header, whatever its place in the list
        UNetBranch.inspect(SPEC, UNetOptions(lora=(files[0], str(other))), str(checkpoint("sd1")))
    assert UNetOptions(lora=()).loras == ()
