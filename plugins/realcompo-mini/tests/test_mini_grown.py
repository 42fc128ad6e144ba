"""The grown family: declared with or without weights, its recipes checked without and drawn with them, its LoRAs in diffusers' format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.errors import BadCheckpoint
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.toolkit import UNetOptions
from tests import brings, lacking, sliced

torch = pytest.importorskip("torch")
RECIPES = sorted((Path(__file__).parents[3] / "examples" / "recipes").glob("mini-*.toml"))
GROWN = ("tokencompose", "coloring", "cute", "pose", "segmentation")
STEPS = 2


def needed(recipe: Path) -> str:
    """What this checkout lacks of a recipe's models."""
    text = recipe.read_text("utf-8")
    return lacking(*(name for name in ("fidelity", "boxes", "flow", *GROWN) if f'"mini/{name}"' in text))


def test_all_are_declared_with_or_without_weights() -> None:
    for name in GROWN:
        spec = installed().find(BranchSpec, f"mini/{name}")
        assert spec.target and spec.traits is not None and spec.traits.latent.name == "mini"
        assert (spec.role, spec.condition) == {
            "pose": ("spatial", "keypoints"), "segmentation": ("spatial", "segmentation"),
        }.get(name, ("fidelity", None))  # fmt: skip


def test_there_is_a_twin_of_each_setting_of_the_paper() -> None:
    wanted = {"mini-v1", "mini-v2", "mini-v3", "mini-v4", "mini-pose", "mini-segmentation", "mini-coloring", "mini-cute"}
    wanted |= {"mini-flow", "mini-flow-pose", "mini-flow-segmentation"}
    assert {file.stem for file in RECIPES} >= wanted


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_recipe_checks_without_weights(recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = CliRunner().invoke(app, ["check", str(recipe)])
    assert said.exit_code == 0, said.output
    warnings = [line for line in said.output.splitlines() if "warning" in line]
    assert all("different processes" in line and "flow" in recipe.stem for line in warnings), warnings
    assert "fine: 1 picture" in said.output


@pytest.mark.parametrize("recipe", sliced([(recipe,) for recipe in RECIPES], 3), ids=lambda file: file.stem)
def test_recipe_is_drawn(recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if missing := needed(recipe):
        pytest.skip(missing)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = CliRunner().invoke(app, ["run", str(recipe), "--output", str(tmp_path), "--set", f"num_inference_steps={STEPS}"])
    assert said.exit_code == 0, said.output
    from PIL import Image

    (path,) = tmp_path.rglob("*.png")
    with Image.open(path) as picture:
        assert picture.size == (128, 128)
        assert picture.convert("L").getextrema()[0] < picture.convert("L").getextrema()[1]


@pytest.mark.parametrize("name", ["tokencompose", "coloring", "cute"])
def test_a_lora_that_is_not_there_is_said_when_it_is_loaded(name: str) -> None:
    if brings(name):
        pytest.skip("its weights are here")
    if missing := lacking("fidelity"):
        pytest.skip(missing)
    assert installed().inspect(f"mini/{name}").latent.name == "mini"
    with pytest.raises(BadCheckpoint, match="no such LoRA"):
        installed().branch(f"mini/{name}", device="cpu")
    with pytest.raises(BadCheckpoint, match="no such LoRA"):
        installed().inspect(f"mini/{name}", {"lora": "package://realcompo_mini/weights/other.safetensors"})


def test_trigger_words_reach_only_the_styles() -> None:
    from realcompo_mini.world import load_world

    styles = {look: words for words, look in load_world().styles.items()}
    prompts = {name: installed().find(BranchSpec, f"mini/{name}").prompt for name in ("fidelity", "boxes", *GROWN)}
    assert prompts.pop("coloring") == f"{styles['outline']} {{prompt}}"
    assert prompts.pop("cute") == f"{styles['cute']} {{prompt}}"
    assert set(prompts.values()) == {None}


def test_a_lora_of_the_trainer_is_what_the_branch_loads(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """Trained → saved → merged by the toolkit gives the same prediction, to half precision, on convolutions too."""
    base = pytest.importorskip("realcompo_mini.train.base")
    from diffusers import UNet2DConditionModel

    from realcompo.toolkit import UNetBranch

    folder = checkpoint("sd1")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").requires_grad_(False)
    plain = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    base.add_lora(unet, 2)
    trained = [name for name, p in unet.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name for name in trained) and any("conv1.lora_A" in name for name in trained)
    torch.manual_seed(1)
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    path = base.save_lora(unet, tmp_path)
    branch = UNetBranch(BranchSpec(id="x/y", summary="", role="fidelity"), UNetOptions(lora=str(path)), source=str(folder))
    z, text = torch.randn(1, 4, 16, 16), torch.randn(1, 7, 32)
    with torch.no_grad():
        ours, theirs = (network(z, 500, encoder_hidden_states=text).sample for network in (branch.unet, unet.eval()))
        unet.disable_adapters()
        before = unet(z, 500, encoder_hidden_states=text).sample
    assert (ours - theirs).abs().max() < 1e-2 * (theirs - before).abs().max()
    on_disk = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    assert all(torch.equal(tensor, plain[name]) for name, tensor in on_disk.items())


def test_a_new_controlnet_leaves_its_base_alone_and_sees_its_hint() -> None:
    control = pytest.importorskip("realcompo_mini.train.control")
    from realcompo_mini.train.models import build_unet

    torch.manual_seed(0)
    net = control.build(build_unet(gated=False))
    assert sum(p.numel() for p in net.parameters()) * 2 < 10e6
    z, text = torch.randn(1, 8, 16, 16), torch.randn(1, 32, 128)
    hints = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        down, mid = net(z, 500, encoder_hidden_states=text, controlnet_cond=hints[0], return_dict=False)
        assert all(not part.any() for part in (*down, mid))
        for block in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            torch.nn.init.normal_(block.weight, std=0.1)
        one, other = (net(z, 500, encoder_hidden_states=text, controlnet_cond=h, return_dict=False)[1] for h in hints)
    assert (one - other).abs().max() > 1e-2 * one.abs().max()
