"""What a ControlNet branch owes beyond parity: maps that feel the hint, bases that fit, pictures with conditions of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from realcompo.conditions import Boxes, Keypoints, Segmentation
from realcompo.errors import BadCheckpoint, BadCondition, BadOption, Incompatible
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

POSE = Keypoints({"a cat": {"nose": (0.3, 0.2), "neck": (0.3, 0.35), "left_hip": (0.36, 0.7)}, "a dog": {"nose": (0.7, 0.5)}})
TURNED = Keypoints({"a cat": {"nose": (0.8, 0.9), "neck": (0.7, 0.7), "left_hip": (0.5, 0.3)}, "a dog": {"nose": (0.1, 0.1)}})
PROMPT = "a cat and a dog"


def noise(count: int = 1) -> torch.Tensor:
    return torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(b)) for b in range(count)])


def at(branch: Any, index: int = 5) -> Any:
    return Solver("ddim", branch.traits.schedule, 10, branch.traits.prediction_type).steps[index]


def pose(checkpoint: Any, **options: Any) -> Any:
    return Registry().branch("controlnet/pose-sd15", options, source=str(checkpoint("controlnet-sd1")))


@pytest.fixture(scope="module")
def branch(checkpoint: Any) -> Any:
    return pose(checkpoint)


def maps(branch: Any, condition: Keypoints) -> torch.Tensor:
    with torch.no_grad():
        return branch.attend(noise(), at(branch), branch.encode(request((PROMPT,), conditions=(condition,))))  # type: ignore[no-any-return]


def test_up_maps_feel_the_hint_and_down_maps_do_not(checkpoint: Any, branch: Any) -> None:
    assert branch.options.places == ("up",)
    one, other = maps(branch, POSE), maps(branch, TURNED)
    print(f"up maps change by {relative(one, other):.1e}")
    assert relative(one, other) > 1e-4
    down = pose(checkpoint, places=["down"])
    assert torch.equal(maps(down, POSE), maps(down, TURNED))


def test_gradient_runs_through_the_controlnet_too(branch: Any) -> None:
    """∂maps/∂z of the whole branch, against a difference quotient in the steepest direction."""
    conditioning, step = branch.encode(request((PROMPT,), conditions=(POSE,))), at(branch)
    z = noise().requires_grad_()
    mix = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    slope = torch.autograd.grad((branch.attend(z, step, conditioning) * mix).sum(), z)[0]
    away = slope / slope.norm()
    with torch.no_grad():
        ends = [float((branch.attend(z + sign * 0.05 * away, step, conditioning) * mix).sum(dtype=torch.float64)) for sign in (1, -1)]
    assert float(slope.norm()) == pytest.approx((ends[0] - ends[1]) / 0.1, rel=0.05)


def test_a_batch_of_poses_is_each_alone(branch: Any) -> None:
    prompts, conditions = (PROMPT, "a red cat and a dog", "a house"), (POSE, TURNED, None)
    together = draw_alone(branch, request(prompts, conditions=conditions), noise(3), steps=4)
    for b in range(3):
        alone = draw_alone(branch, request(prompts[b : b + 1], conditions=conditions[b : b + 1]), noise(3)[b : b + 1], steps=4)
        assert relative(alone, together[b : b + 1]) < 1e-4


def test_the_network_is_shared_with_the_base(checkpoint: Any, branch: Any) -> None:
    base = Registry().branch("sd/v1-5", source=str(checkpoint("controlnet-sd1")))
    assert base.unet is branch.unet and branch.vae is None


def test_sdxl_beside_its_own_base(checkpoint: Any) -> None:
    """One network on both sides, two text encoders, and maps that feel the hint."""
    folder = str(checkpoint("controlnet-sdxl"))
    branch, base = Registry().branch("controlnet/pose-sdxl", source=folder), Registry().branch("sd/xl-base", source=folder)
    assert base.unet is branch.unet and base.text.encoders == branch.text.encoders
    assert set(branch.fingerprint()) == {"unet", "text_encoder", "text_encoder_2", "controlnet"}
    assert branch.traits.latent == base.traits.latent and branch.traits.latent.name == "sdxl"
    one, other = maps(branch, POSE), maps(branch, TURNED)
    print(f"up maps change by {relative(one, other):.1e}")
    assert relative(one, other) > 1e-4
    published = Registry().inspect("controlnet/pose-sdxl")
    assert (published.default_size, published.family) == ((1024, 1024), "SDXL with ControlNet")


def test_fingerprint_names_every_network(branch: Any) -> None:
    assert set(branch.fingerprint()) == {"unet", "text_encoder", "controlnet"}
    assert branch.to("cpu", torch.float32) is branch and {part.dtype for part, _ in branch.nets} == {torch.float32}


def test_traits_are_the_bases(checkpoint: Any, branch: Any) -> None:
    assert branch.traits.family.endswith(" with ControlNet")
    seg = Registry().inspect("controlnet/seg-sd21", source=str(checkpoint("controlnet-sd2-v")))
    assert seg.prediction_type == "v_prediction"
    published = Registry().inspect("controlnet/seg-sd21")
    assert (published.default_size, published.prediction_type) == ((768, 768), "v_prediction")


# -- bases ---------------------------------------------------------------------------------------------------------------------


def test_a_base_apart_from_its_controlnet(checkpoint: Any, branch: Any) -> None:
    """A ControlNet in a folder of its own, on a base that `base_source` names, is the whole pipeline."""
    whole = checkpoint("controlnet-sd1")
    apart = Registry().branch("controlnet/pose-sd15", {"base_source": str(whole)}, source=str(whole / "controlnet"))
    asked = request((PROMPT,), conditions=(POSE,))
    assert torch.equal(draw_alone(apart, asked, noise(), steps=2), draw_alone(branch, asked, noise(), steps=2))


def test_a_base_of_another_kind_is_refused_before_weights(checkpoint: Any, tmp_path: Path) -> None:
    with pytest.raises(Incompatible, match=r"'controlnet/pose-sd15' is a ControlNet for SD 1\.x, its base 'sd/v2-1' is SD 2\.x"):
        Registry().inspect("controlnet/pose-sd15", {"base": "sd/v2-1"})
    net = tmp_path / "sd2-net"
    shutil.copytree(checkpoint("controlnet-sd1") / "controlnet", net)
    for weights in net.glob("*.safetensors"):
        weights.unlink()  # so that nothing can be read of them
    config = json.loads((net / "config.json").read_text())
    (net / "config.json").write_text(json.dumps({**config, "cross_attention_dim": 1024}))
    options = {"base_source": str(checkpoint("sd1"))}
    said = r"the ControlNet .*sd2-net is for SD 2\.x \(cross_attention_dim 1024\), its base .* \(cross_attention_dim 32\)"
    with pytest.raises(Incompatible, match=said):
        Registry().inspect("controlnet/pose-sd15", options, source=str(net))


@pytest.mark.parametrize(
    ("id", "base", "kinds"),
    [
        ("controlnet/pose-sd15", "sd/xl-base", ("SD 1.x", "SDXL")),
        ("controlnet/pose-sdxl", "sd/v1-5", ("SDXL", "SD 1.x")),
        ("controlnet/seg-sd21", "sd/xl-base", ("SD 2.x", "SDXL")),
    ],
)
def test_kinds_that_the_plugins_declare(id: str, base: str, kinds: tuple[str, str]) -> None:
    with pytest.raises(Incompatible, match=f"'{id}' is a ControlNet for {kinds[0]}, its base '{base}' is {kinds[1]}"):
        Registry().inspect(id, {"base": base})


def test_an_sd_controlnet_on_sdxl_and_back_are_told_from_configs(checkpoint: Any, tmp_path: Path) -> None:
    for net, base, source, said in (
        ("controlnet-sd1", "sd/xl-base", "sdxl", r"\(cross_attention_dim 32\), its base .* is SDXL-shaped, .* \(cross_attention_dim 80\)"),
        ("controlnet-sdxl", "sd/v1-5", "sd1", r"is for SDXL-shaped, .* \(cross_attention_dim 80\), its base .* \(cross_attention_dim 32\)"),
    ):
        folder = tmp_path / net
        shutil.copytree(checkpoint(net) / "controlnet", folder, ignore=shutil.ignore_patterns("*.safetensors"))
        options = {"base": base, "base_source": str(checkpoint(source))}
        with pytest.raises(Incompatible, match=said):
            Registry().inspect("controlnet/pose-sdxl" if base == "sd/xl-base" else "controlnet/pose-sd15", options, source=str(folder))
    refined = tmp_path / "refined"
    shutil.copytree(checkpoint("controlnet-sdxl") / "controlnet", refined, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((refined / "config.json").read_text())
    (refined / "config.json").write_text(json.dumps({**config, "projection_class_embeddings_input_dim": 80}))
    with pytest.raises(Incompatible, match=r"projection_class_embeddings_input_dim 80\), its base .* \(.* 88\)"):
        Registry().inspect("controlnet/pose-sdxl", {"base_source": str(checkpoint("sdxl"))}, source=str(refined))


def test_where_its_base_has_no_maps(checkpoint: Any) -> None:
    """Told from the base's config: SDXL has cross-attention at latent/2 and latent/4."""
    with pytest.raises(BadOption, match="no cross-attention in up at the latent's size divided by 8"):
        Registry().inspect("controlnet/pose-sdxl", {"map_divisor": 8}, source=str(checkpoint("controlnet-sdxl")))


def test_what_is_no_controlnet_or_no_base(checkpoint: Any, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="it holds no ControlNet"):
        Registry().branch("controlnet/pose-sd15", source=str(_without(checkpoint("controlnet-sd1"), tmp_path)))
    with pytest.raises(BadOption, match="'gligen/box' is no base for a ControlNet: it is a spatial branch"):
        Registry().inspect("controlnet/pose-sd15", {"base": "gligen/box"})
    other = tmp_path / "other"
    shutil.copytree(checkpoint("controlnet-sd1") / "controlnet", other)
    config = json.loads((other / "config.json").read_text())
    for change, said in (
        ({"_class_name": "SparseControlNetModel"}, "is a SparseControlNetModel"),
        ({"global_pool_conditions": True}, "pools its hint"),
    ):
        (other / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(BadCheckpoint, match=said):
            Registry().inspect("controlnet/pose-sd15", {"base_source": str(checkpoint("sd1"))}, source=str(other))


def _without(whole: Path, folder: Path) -> Path:
    """Only the folder of its tokenizer: neither a base nor a ControlNet."""
    shutil.copytree(whole / "tokenizer", folder / "nothing" / "tokenizer")
    return folder / "nothing"


def test_bad_options(checkpoint: Any) -> None:
    with pytest.raises(BadOption, match="base_options turns allow_pickle on"):
        Registry().inspect("controlnet/pose-sd15", {"base_options": {"allow_pickle": True}})
    with pytest.raises(BadOption, match="sd/v1-5 has no option 'lor'"):
        Registry().inspect("controlnet/pose-sd15", {"base_options": {"lor": "x"}})
    for options in ({"start": 0.5, "end": 0.5}, {"conditioning_scale": -1}, {"more": [{"scale": 1}]}, {"palette": {"sky": [0, 0, 300]}}):
        with pytest.raises(BadOption):
            pose(checkpoint, **options)
    with pytest.raises(BadCheckpoint, match="it holds 1 ControlNets, the option more speaks of 2"):
        pose(checkpoint, more=[{"end": 0.5}])


# -- in a composition ------------------------------------------------------------------------------------------------------------


def test_boxes_pose_and_map_at_once(checkpoint: Any, tmp_path: Path) -> None:
    """Three spatial branches: each sees its own condition, the regions are the union, and the PNG carries all of it."""
    import realcompo as rc
    from realcompo.pictures.png import read_recipe

    scene = Segmentation(items=[{"phrase": "the house", "polygons": [[32, 0, 64, 0, 64, 30]]}], size=(64, 64))
    spatial = [
        {"name": "gligen/box", "source": str(checkpoint("gligen"))},
        {"name": "controlnet/pose-sd15", "source": str(checkpoint("controlnet-sd1"))},
        {
            "name": "controlnet/seg-sd15",
            "source": str(checkpoint("controlnet-sd1")),
            "transfer": {"name": "core/segments", "options": {"shape": "exact"}},
        },
    ]
    fidelity = {"name": "sd/v1-5", "source": str(checkpoint("sd1"))}
    composer = rc.Composer(
        fidelity, spatial, balancer="core/balance", balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu"
    )
    conditions = {"boxes": Boxes({"grass": (0, 0.6, 1, 1)}), "keypoints": POSE, "segmentation": scene}
    result = composer("a cat and a dog on grass, the house", conditions, seed=1)
    assert [region.id for region in result.batch_regions.pictures[0]] == ["grass", "a cat", "a dog", "the house"]
    assert result.batch_regions.pictures[0][3].mask is not None
    result.image.save(tmp_path / "scene.png")
    recipe = read_recipe(tmp_path / "scene.png").recipe
    assert recipe.pictures[0].conditions == conditions and recipe.branches[3].transfer == result.recipe.branches[3].transfer


# -- conditions ----------------------------------------------------------------------------------------------------------------


def test_another_kind_of_condition(branch: Any) -> None:
    with pytest.raises(BadCondition, match="takes keypoints, not boxes"):
        branch.encode(request((PROMPT,), conditions=(Boxes({"a cat": (0, 0, 1, 1)}),)))


def test_hints_are_drawn_for_their_kind(checkpoint: Any, branch: Any) -> None:
    hints = branch.prepare(request((PROMPT, PROMPT), conditions=(POSE, None)))
    assert hints.shape == (2, 3, 128, 128) and float(hints[0].max()) == 1 and not hints[1].any()
    seg = Registry().branch("controlnet/seg-sd15", {"palette": {"cat": [255, 0, 0]}}, source=str(checkpoint("controlnet-sd1")))
    square = Segmentation(items=[{"phrase": "a cat", "polygons": [[0, 0, 32, 0, 32, 64, 0, 64]]}], size=(64, 64))
    pixels = np.asarray(seg.hint(square, (128, 128)))
    assert (pixels[:, :64] == (255, 0, 0)).all() and not pixels[:, 64:].any()
    with pytest.raises(BadCondition, match="names no class of the palette"):
        seg.hint(Segmentation(items=[{"phrase": "a unicorn", "polygons": [[0, 0, 9, 0, 9, 9]]}], size=(64, 64)), (128, 128))


def test_a_hint_that_ends_before_the_balance_begins_is_remarked() -> None:
    from realcompo.registry import installed
    from realcompo.specs import BranchSpec

    registry = installed()
    spec = registry.find(BranchSpec, "controlnet/pose-sd15")
    cls = registry.load(spec)
    assert cls.remarks(spec, registry.options(spec, {"end": 0.2}), (0.3, 1.0)) and not cls.remarks(spec, registry.options(spec), (0.3, 1.0))


def test_declaring_imports_no_torch() -> None:
    from realcompo.testing.common import imported_by

    assert not imported_by("realcompo_controlnet")
