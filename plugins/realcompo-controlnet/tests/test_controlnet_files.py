"""ControlNets and T2I-Adapters in every layout that is passed around, each loaded by its path alone: the network is that of the plain
folder, to the bit. Written by `realcompo.testing.wild`, from what is published of the layouts. All offline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realcompo.conditions import Hint, Keypoints, Segmentation
from realcompo.conditions.hint import SAMPLE
from realcompo.errors import BadCheckpoint, BadCondition, BadOption, Incompatible
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.originals import UNET, original_tensors
from realcompo.testing.wild import adapter_tensors, control_lora, controlnet_tensors, in_eight_bits
from tests import sliced

Fetch = Callable[[str], Path]
IDS = {"controlnet-sd1": "controlnet/pose-sd15", "controlnet-sd2-v": "controlnet/seg-sd21", "controlnet-sdxl": "controlnet/pose-sdxl"}
POSE = Keypoints({"a cat": {"nose": (0.3, 0.2), "neck": (0.3, 0.35), "left_hip": (0.36, 0.7)}})
TURNED = Keypoints({"a cat": {"nose": (0.8, 0.9), "neck": (0.7, 0.7), "left_hip": (0.5, 0.3)}})
PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 4


def net_of(id: str, base: Path, source: Path, **options: Any) -> dict[str, torch.Tensor]:
    branch = Registry().branch(id, {"base_source": str(base), **options}, source=str(source))
    ((net, _),) = branch.nets
    return dict(net.state_dict())


def equal(mine: Any, theirs: Any) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)


def tensors_of(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return load_file(str(next(folder.glob("*.safetensors")))), json.loads((folder / "config.json").read_text())


def saved(file: Path, tensors: Any) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, str(file))
    return file


def noise(count: int = 1) -> torch.Tensor:
    return torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(b)) for b in range(count)])


# -- ControlNets ---------------------------------------------------------------------------------------------------------------

LAYOUTS = ("original", "original, bare", "original, wrapped", "original, fp16", "original, with its base", "diffusers", "diffusers, fp8")


@pytest.mark.parametrize(
    ("family", "layout"),
    [pytest.param(family, layout, marks=[] if family == "controlnet-sd1" else pytest.mark.deep) for family in IDS for layout in LAYOUTS],
)
def test_a_controlnet_of_one_file(checkpoint: Fetch, tmp_path: Path, family: str, layout: str) -> None:
    folder = checkpoint(family)
    tensors, config = tensors_of(folder / "controlnet")
    want = dict(tensors)
    front = {"original, bare": "", "original, wrapped": "state_dict.module.control_model."}.get(layout, "control_model.")
    stored: dict[str, Any] = tensors if layout.startswith("diffusers") else controlnet_tensors(tensors, config, front)
    if layout.endswith("fp16"):
        stored, want = ({name: x.half() for name, x in stored.items()}, {name: x.half().float() for name, x in want.items()})
    if layout.endswith("fp8"):
        stored, want = in_eight_bits(stored, "", "plain")
    if layout.endswith("with its base"):  # as the first release was: ControlNet and SD 1.5 in one file
        stored = {**stored, **original_tensors(folder)}
    mine = net_of(IDS[family], folder, saved(tmp_path / "net.safetensors", stored))
    assert equal(mine, want)
    if layout == "original":
        other = net_of(IDS[family], folder, saved(tmp_path / "other.safetensors", {name: x * 2 for name, x in stored.items()}))
        assert not equal(other, want), "the control: other weights are seen"


def test_a_file_draws_what_its_folder_draws(checkpoint: Fetch, tmp_path: Path) -> None:
    """Also as one of two, and in the fingerprint by its own digest."""
    folder = checkpoint("controlnet-sd1")
    file = saved(tmp_path / "net.safetensors", controlnet_tensors(*tensors_of(folder / "controlnet")))
    asked = request((PROMPT,), conditions=(POSE,))
    plain = Registry().branch("controlnet/pose-sd15", source=str(folder))
    mine = Registry().branch("controlnet/pose-sd15", {"base_source": str(folder)}, source=str(file))
    assert torch.equal(draw_alone(mine, asked, noise(), steps=2), draw_alone(plain, asked, noise(), steps=2))
    assert mine.fingerprint()["controlnet"] != plain.fingerprint()["controlnet"] and mine.traits == plain.traits
    two = Registry().branch("controlnet/pose-sd15", {"more": [{"source": str(file)}]}, source=str(folder))
    assert equal(two.nets[1][0].state_dict(), plain.nets[0][0].state_dict())


def low_rank(folder: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    tensors, config = tensors_of(folder / "controlnet")
    changed = {name: x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) for name, x in tensors.items()}
    stored, meant = control_lora(changed, load_file(str(next((folder / "unet").glob("*.safetensors")))), config, rank=2)
    return saved(tmp_path / "control-lora.safetensors", stored), meant


@pytest.mark.parametrize("family", sliced([("controlnet-sdxl",), ("controlnet-sd1",)], 2))
def test_a_control_lora(checkpoint: Fetch, tmp_path: Path, family: str) -> None:
    """W = W_base + U·D on the base's own weights, to the bit; on another base it is another network."""
    folder = checkpoint(family)
    file, meant = low_rank(folder, tmp_path)
    mine = net_of(IDS[family], folder, file)
    assert equal(mine, meant)
    assert not equal(mine, tensors_of(folder / "controlnet")[0])
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    place = next((other / "unet").glob("*.safetensors"))
    saved(place, {name: x * 1.5 for name, x in load_file(str(place)).items()})
    assert not equal(net_of(IDS[family], other, file), meant), "the base's weights are in it"


def test_a_control_lora_that_is_not_whole(checkpoint: Fetch, tmp_path: Path) -> None:
    folder = checkpoint("controlnet-sd1")
    file, _ = low_rank(folder, tmp_path)
    stored = load_file(str(file))
    half = next(name for name in stored if name.endswith("to_q.up"))
    for change, said in (
        ({name: x for name, x in stored.items() if name != half}, "only '.*to_q.down' is there, not its other half"),
        ({**stored, half: stored[half][:, :1].clone()}, "are of two ranks"),
        (
            {name: x for name, x in stored.items() if "zero_convs.1." not in name},
            r"2 tensors .* missing, among them 'controlnet_down_blocks\.1",
        ),
    ):
        with pytest.raises(BadCheckpoint, match=said):
            Registry().inspect("controlnet/pose-sd15", {"base_source": str(folder)}, str(saved(file, change)))


def test_a_controlnet_as_difference(checkpoint: Fetch, tmp_path: Path) -> None:
    """Stored without its base's weights, with the mark `difference`: they are added again."""
    folder = checkpoint("controlnet-sd1")
    tensors, config = tensors_of(folder / "controlnet")
    unet = load_file(str(next((folder / "unet").glob("*.safetensors"))))
    less = {name: x - unet[name] if name in unet else x for name, x in tensors.items()}
    file = saved(tmp_path / "diff.safetensors", {**controlnet_tensors(less, config), "difference": torch.zeros(0)})
    assert equal(net_of("controlnet/pose-sd15", folder, file), {name: unet[name] + x if name in unet else x for name, x in less.items()})


@pytest.mark.parametrize("smaller", ["mid", "small"])
def test_smaller_sdxl_controlnets(checkpoint: Fetch, tmp_path: Path, smaller: str) -> None:
    """diffusers' smaller ones for SDXL have shallower transformers, or none: told from the file's names."""
    from diffusers import ControlNetModel

    folder = checkpoint("controlnet-sdxl")
    config = json.loads((folder / "controlnet" / "config.json").read_text())
    if smaller == "mid":
        config |= {"transformer_layers_per_block": [1, 1, 1]}
    else:
        config |= {"down_block_types": ["DownBlock2D"] * 3, "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": 1}
    torch.manual_seed(0)
    net: Any = ControlNetModel.from_config(config)
    net.save_pretrained(str(tmp_path / "folder"))
    file = saved(tmp_path / "net.safetensors", net.state_dict())
    assert equal(net_of("controlnet/pose-sdxl", folder, file), net.state_dict())
    assert equal(net_of("controlnet/pose-sdxl", folder, tmp_path / "folder"), net.state_dict())


# -- unions --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def union(checkpoint: Fetch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random union of six ControlNets for SDXL, in a folder; its zero convolutions are opened."""
    import diffusers

    from realcompo.testing.checkpoints import open_gates

    config = json.loads((checkpoint("controlnet-sdxl") / "controlnet" / "config.json").read_text())
    kept = {key: value for key, value in config.items() if not key.startswith("_") and key not in ("mid_block_type",)}
    cls: Any = diffusers.ControlNetUnionModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = cls(**kept, num_control_type=6, num_trans_channel=8, num_trans_head=8, num_proj_channel=8).eval()
        open_gates(net)
        torch.nn.init.normal_(net.spatial_ch_projs.weight, std=0.5)
    folder = tmp_path_factory.mktemp("union") / "net"
    net.save_pretrained(str(folder))
    return folder


def test_a_union_of_one_file(checkpoint: Fetch, union: Path, tmp_path: Path) -> None:
    tensors, _ = tensors_of(union)
    base = checkpoint("controlnet-sdxl")
    assert equal(net_of("controlnet/pose-sdxl", base, saved(tmp_path / "union.safetensors", tensors)), tensors)
    assert equal(net_of("controlnet/pose-sdxl", base, union), tensors)


def test_a_union_is_the_pipelines(checkpoint: Fetch, union: Path) -> None:
    """diffusers' pipeline for unions, told that the hint is a pose (0); told of edges (3), it draws another picture."""
    from diffusers import ControlNetUnionModel, StableDiffusionXLControlNetUnionPipeline

    base = checkpoint("controlnet-sdxl")
    branch = Registry().branch("controlnet/pose-sdxl", {"base_source": str(base), "conditioning_scale": 0.8}, source=str(union))
    mine = draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,), conditions=(POSE,)), noise(), steps=STEPS)
    net: Any = ControlNetUnionModel.from_pretrained(str(union))
    pipe: Any = StableDiffusionXLControlNetUnionPipeline.from_pretrained(str(base), controlnet=net)
    pipe.set_progress_bar_config(disable=True)

    def theirs(mode: int) -> torch.Tensor:
        pipe.scheduler = Solver("ddim", branch.traits.schedule, STEPS, branch.traits.prediction_type).scheduler
        told: torch.Tensor = pipe(
            PROMPT,
            control_image=[branch.hint(POSE, (128, 128))],
            control_mode=[mode],
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            guidance_scale=7.5,
            latents=noise(),
            controlnet_conditioning_scale=0.8,
            output_type="latent",
        ).images
        return told

    assert relative(theirs(0), mine) < 1e-4
    assert relative(theirs(3), mine) > 1e-3, "which of them it is told matters"
    turned = draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,), conditions=(TURNED,)), noise(), steps=STEPS)
    assert relative(turned, mine) > 1e-3


def test_a_batch_of_a_union_is_each_alone(checkpoint: Fetch, union: Path) -> None:
    """Hints of two kinds in one batch: each row is told its own."""
    options = {"base": "sd/xl-base", "base_source": str(checkpoint("controlnet-sdxl")), "hints": []}
    branch = Registry().branch("controlnet/canny-sd15", options, source=str(union))
    hints = tuple(Hint({**SAMPLE, "of": of, "items": ()}) for of in ("depth", "canny", "depth"))
    together = draw_alone(branch, request((PROMPT,) * 3, conditions=hints), noise(3), steps=2)
    for b in range(3):
        alone = draw_alone(branch, request((PROMPT,), conditions=hints[b : b + 1]), noise(3)[b : b + 1], steps=2)
        assert relative(alone, together[b : b + 1]) < 1e-4
    with pytest.raises(BadCondition, match="knows no hint of the kind 'tile'"):
        branch.encode(request((PROMPT,), conditions=(Hint({**SAMPLE, "of": "tile", "items": ()}),)))


# -- T2I-Adapters --------------------------------------------------------------------------------------------------------------

ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("controlnet-sd1", {"channels": [8, 16, 16, 16], "num_res_blocks": 2}),
    "grey": ("controlnet-sd1", {"channels": [8, 16, 16, 16], "num_res_blocks": 2, "in_channels": 1}),
    "light": ("controlnet-sd1", {"channels": [8, 16, 16], "num_res_blocks": 4, "adapter_type": "light_adapter"}),
    "xl": (
        "controlnet-sdxl",
        {"channels": [8, 16, 16, 16], "num_res_blocks": 2, "adapter_type": "full_adapter_xl", "downscale_factor": 16},
    ),
}


def adapter(kind: str) -> Any:
    from diffusers import T2IAdapter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cls: Any = T2IAdapter
        return cls(**ADAPTERS[kind][1]).eval()


@pytest.mark.parametrize("kind", sliced([(kind,) for kind in ADAPTERS], 2))
def test_a_t2i_adapter_of_one_file(checkpoint: Fetch, tmp_path: Path, kind: str) -> None:
    family, want = ADAPTERS[kind][0], adapter(kind).state_dict()
    adapter(kind).save_pretrained(str(tmp_path / "folder"))
    sources = {"folder": tmp_path / "folder", "diffusers": saved(tmp_path / "one.safetensors", want)}
    sources["original"] = saved(tmp_path / "two.safetensors", adapter_tensors(want))
    for layout, source in sources.items():
        assert equal(net_of(IDS[family], checkpoint(family), source), want), layout


@pytest.mark.parametrize("kind", sliced([("xl",), ("full",)], 2))
def test_a_t2i_adapter_is_the_pipelines(checkpoint: Fetch, tmp_path: Path, kind: str) -> None:
    import diffusers

    family = ADAPTERS[kind][0]
    base, name = checkpoint(family), "StableDiffusionXLAdapterPipeline" if kind == "xl" else "StableDiffusionAdapterPipeline"
    file = saved(tmp_path / "adapter.safetensors", adapter_tensors(adapter(kind).state_dict()))
    options = {"base_source": str(base), "conditioning_scale": 3.0}
    branch = Registry().branch(IDS[family], options, source=str(file))
    mine = draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,), conditions=(POSE,)), noise(), steps=STEPS)
    more = {} if kind == "xl" else {"safety_checker": None, "requires_safety_checker": False}
    pipe: Any = getattr(diffusers, name).from_pretrained(str(base), adapter=adapter(kind), **more)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = Solver("ddim", branch.traits.schedule, STEPS, branch.traits.prediction_type).scheduler
    theirs = pipe(
        PROMPT,
        image=branch.hint(POSE, (128, 128)),
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        latents=noise(),
        adapter_conditioning_scale=3.0,
        output_type="latent",
    ).images
    assert relative(theirs, mine) < 1e-4
    turned = draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,), conditions=(TURNED,)), noise(), steps=STEPS)
    print(f"{kind}: moved by {relative(turned, mine):.1e}")
    assert relative(turned, mine) > 1e-2


def test_an_adapter_beside_a_controlnet(checkpoint: Fetch, tmp_path: Path) -> None:
    """Both act; a batch is each alone; maps have their gradient through both."""
    folder = checkpoint("controlnet-sd1")
    file = saved(tmp_path / "adapter.safetensors", adapter("full").state_dict())
    branch = Registry().branch("controlnet/pose-sd15", {"more": [{"source": str(file), "conditioning_scale": 2.0}]}, source=str(folder))
    alone = Registry().branch("controlnet/pose-sd15", source=str(folder))
    asked = request((PROMPT,) * 2, conditions=(POSE, TURNED))
    together = draw_alone(branch, asked, noise(2), steps=2)
    assert relative(draw_alone(alone, asked, noise(2), steps=2), together) > 1e-3
    one = draw_alone(branch, request((PROMPT,), conditions=(TURNED,)), noise(2)[1:], steps=2)
    assert relative(one, together[1:]) < 1e-4
    step = Solver("ddim", branch.traits.schedule, 4).steps[1]
    z = noise().requires_grad_()
    maps = branch.attend(z, step, branch.encode(request((PROMPT,), conditions=(POSE,))))
    assert torch.autograd.grad(maps.square().sum(), z)[0].abs().max() > 0


def test_adapters_that_do_not_fit(checkpoint: Fetch, tmp_path: Path) -> None:
    sd, xl = (saved(tmp_path / f"{kind}.safetensors", adapter(kind).state_dict()) for kind in ("full", "xl"))
    for id, base, file in (("controlnet/pose-sd15", "controlnet-sd1", xl), ("controlnet/pose-sdxl", "controlnet-sdxl", sd)):
        with pytest.raises(Incompatible, match=r"the T2I-Adapter .* does not fit its base"):
            Registry().inspect(id, {"base_source": str(checkpoint(base))}, str(file))
    with pytest.raises(BadOption, match="acts inside the blocks that deep_every leaves out"):
        Registry().inspect("controlnet/pose-sd15", {"base_source": str(checkpoint("controlnet-sd1")), "deep_every": 2}, str(sd))
    branch = Registry().branch("controlnet/pose-sdxl", {"base_source": str(checkpoint("controlnet-sdxl"))}, source=str(xl))
    with pytest.raises(Incompatible, match="sides are multiples of 16, not 128×120"):
        branch.encode(request((PROMPT,), conditions=(POSE,), size=(120, 128)))


# -- refusals, before a tensor is read -------------------------------------------------------------------------------------------


def test_other_files_and_other_bases(checkpoint: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint("controlnet-sd1")
    tensors, config = tensors_of(folder / "controlnet")
    stored = controlnet_tensors(tensors, config)
    file, options = tmp_path / "net.safetensors", {"base_source": str(folder)}
    zero = "control_model.zero_convs.1.0.weight"
    cases: list[tuple[dict[str, Any], str]] = [
        ({name: x for name, x in original_tensors(folder).items() if name.startswith(UNET)}, "it is the UNet of .* not a ControlNet"),
        ({"lora_unet_down_blocks_0.lora_up.weight": torch.ones(1)}, "it is a LoRA, not a ControlNet"),
        ({name: x for name, x in stored.items() if name != zero}, r"1 tensors .* missing, among them 'controlnet_down_blocks\.1\.weight'"),
        ({**stored, zero: stored[zero][:1]}, r"1 of its tensors .* 'controlnet_down_blocks\.1\.weight' is"),
        ({**stored, "control_model.odd.weight": torch.ones(1)}, r"1 tensors that are none of a ControlNet, among them 'control_model\.odd"),
        ({**stored, zero: stored[zero].to(torch.int8)}, "are stored as I8"),
    ]
    files = [(saved(tmp_path / f"{n}.safetensors", t), said) for n, (t, said) in enumerate(cases)]
    saved(file, stored)
    monkeypatch.setattr("realcompo.toolkit.tensor_files.TensorFile.read", lambda *_: pytest.fail("it read weights"))
    for place, said in files:
        with pytest.raises(BadCheckpoint, match=said):
            Registry().inspect("controlnet/pose-sd15", options, str(place))
    with pytest.raises(Incompatible, match=r"is for .* \(cross_attention_dim 32\), its base"):
        Registry().inspect("controlnet/pose-sdxl", {"base_source": str(checkpoint("sdxl"))}, str(file))
    assert Registry().inspect("controlnet/pose-sd15", options, str(file)).family.endswith(" with ControlNet")


def test_a_union_is_told_of_a_map(checkpoint: Fetch, union: Path) -> None:
    scene = Segmentation(items=[{"phrase": "a cat", "polygons": [[8, 20, 30, 20, 30, 50, 8, 50]]}], size=(64, 64))
    options = {"base": "sd/xl-base", "base_source": str(checkpoint("controlnet-sdxl"))}
    branch = Registry().branch("controlnet/seg-sd15", options, source=str(union))
    assert branch.encode(request((PROMPT,), conditions=(scene,))).extra.kinds == ("segmentation",)
