"""`mini/flow` as a branch: it reads latents and time as it was trained to, and composes with branches of another architecture and process.

On a stand-in of its shape with random weights, written by the training's own export, and on the trained weights where they are.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import realcompo as rc
from realcompo.errors import WrongLevel
from realcompo.interfaces import Step
from realcompo.recipes.recipe import read_condition
from realcompo.registry import installed
from realcompo.specs import BranchSpec, FlowSchedule
from realcompo.testing.driving import draw_alone, relative, request
from tests import brings, lacking

torch = pytest.importorskip("torch")
export = pytest.importorskip("realcompo_mini.train.export")
from realcompo_mini.plugin import GUIDANCE, MAP, POSE  # noqa: E402
from realcompo_mini.train import flow, sample  # noqa: E402
from realcompo_mini.train.base import draw_guided, load_base  # noqa: E402
from realcompo_mini.train.common import Settings  # noqa: E402
from realcompo_mini.train.models import build_transformer, start_transformer  # noqa: E402

pytestmark = [
    pytest.mark.skipif(bool(lacking("fidelity")), reason=lacking("fidelity")),
    pytest.mark.filterwarnings("ignore::realcompo.errors.Remark"),
]
PROMPTS = ("a cat and a red balloon on grass", "two penguins on snow")
BOXES = {"a cat": [0.08, 0.45, 0.5, 0.87], "a red balloon": [0.6, 0.1, 0.9, 0.5]}
SHIFT = 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the stage `export` writes it: two blocks, random weights."""
    from diffusers import PixArtTransformer2DModel

    out = tmp_path_factory.mktemp("flow")
    settings = Settings(out)
    torch.manual_seed(0)
    facts = {**build_transformer().config, "num_layers": 2}
    network: Any = PixArtTransformer2DModel.from_config(facts)
    start_transformer(network)
    torch.nn.init.normal_(network.proj_out.weight, std=0.05)
    torch.nn.init.normal_(network.scale_shift_table, std=0.5)
    flow.kept_shift(out / "flow", SHIFT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "build_transformer", lambda: PixArtTransformer2DModel.from_config(facts))
        export._write_flow(out / "export" / "flow", {"average": network.state_dict()}, settings)
    return out / "export" / "flow"


@pytest.fixture(scope="module", params=["stand-in", "trained"])
def source(request: Any) -> str | None:
    """None is the package's own."""
    if request.param == "trained":
        if not brings("flow"):
            pytest.skip(lacking("flow"))
        return None
    return str(request.getfixturevalue("folder"))


@pytest.fixture(scope="module")
def branch(source: str | None) -> Any:
    return installed().branch("mini/flow", source=source, device="cpu")


def test_traits_are_those_of_its_files(folder: Path) -> None:
    spec = installed().find(BranchSpec, "mini/flow")
    traits = installed().inspect("mini/flow", {}, str(folder))
    assert traits.schedule == FlowSchedule(shift=SHIFT) and traits.prediction_type == "flow_prediction"
    assert spec.traits is not None and traits.latent == spec.traits.latent
    assert (traits.default_size, traits.size_multiple) == ((128, 128), 16)


def plain_loop(branch: Any, prompts: tuple[str, ...], steps: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The latents of the training's own sampler: σ from 1 to 0, z + (σ' − σ) v, tokens by the training's tokenizer, no mask."""
    import numpy as np

    base, ends = load_base(Settings(Path("nowhere"))), []
    monkeypatch.setattr(sample, "_decoded", lambda clean, autoencoder: ends.append(clean) or np.zeros(1))

    def predict(z: Any, sigma: Any, hidden: Any) -> Any:
        return branch.transformer(z, encoder_hidden_states=hidden, timestep=sigma * 1000).sample

    def by(velocity: Any, count: int, autoencoder: Any, seed: int) -> Any:
        return sample.draw_flow(velocity, count, SimpleNamespace(), steps=steps, seed=seed, shift=branch.traits.schedule.shift)  # type: ignore[arg-type]

    with torch.no_grad():
        draw_guided(base, predict, prompts, GUIDANCE["mini/fidelity"], seed=3, by=by)
    return ends[0]


def test_alone_it_is_the_trainings_own_sampler(branch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latents to 1e-4 of their size; another prompt, and no guidance, are other latents."""
    noise = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(3))

    def ours(prompts: tuple[str, ...], guidance: float = GUIDANCE["mini/fidelity"], scheduler: str = "ddim") -> Any:
        asked = request(prompts, size=(128, 128), guidance_scale=guidance)
        return draw_alone(branch, asked, noise, scheduler=scheduler, steps=8)

    theirs, mine = plain_loop(branch, PROMPTS, 8, monkeypatch), ours(PROMPTS)
    assert relative(theirs, mine) < 1e-4
    assert relative(theirs, ours(PROMPTS, scheduler="flow-euler")) < 1e-4
    assert relative(mine, ours(("a blue house on sand", PROMPTS[1]))) > 1e-2
    assert relative(mine, ours(PROMPTS, guidance=1.0)) > 1e-2


def test_its_maps_are_of_its_tokens(branch: Any) -> None:
    """8×8 maps, a row a region; each word's share of the softmax, so that regions add to less than 1; their slope reaches z."""
    regions = rc.Boxes({name: tuple(box) for name, box in BOXES.items()})
    conditioning = branch.encode(request(PROMPTS[:1], conditions=(regions,), size=(128, 128)))
    level = FlowSchedule.level(0.6)
    step = Step(0, 10, 0.0, 0.0, level, 0.6).seen_by(branch.traits.schedule)
    assert step.t == pytest.approx(600) and step.scale == pytest.approx((0.4**2 + 0.6**2) ** 0.5)
    z = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with torch.enable_grad():
        maps = branch.attend(z, step, conditioning)
        (slope,) = torch.autograd.grad(maps[:, 0].mean(), z)
    assert maps.shape == (1, 2, 8, 8) and float(maps.detach().min()) >= 0 and 0 < float(maps.detach().sum(dim=1).max()) < 1
    assert float(slope.abs().max()) > 0
    with pytest.raises(WrongLevel, match="mini/flow"):
        branch.predict(z.detach(), step.seen_by(installed().inspect("mini/boxes").schedule), conditioning)


PARTNERS = {
    "mini/boxes": (PROMPTS[0], "boxes", BOXES),
    "mini/pose": (POSE["prompt"], "keypoints", POSE["keypoints"]),
    "mini/segmentation": (MAP["prompt"], "segmentation", MAP["segmentation"]),
}


@pytest.mark.parametrize("spatial", PARTNERS)
def test_it_composes_across_architecture_and_process(spatial: str, source: str | None) -> None:
    """A transformer's flow and a UNet's diffusion in one balanced run: the list of levels begins where the diffusion knows it."""
    if missing := lacking(spatial):
        pytest.skip(missing)
    prompt, kind, told = PARTNERS[spatial]
    fidelity = "mini/flow" if source is None else {"name": "mini/flow", "source": source}
    composer = rc.Composer(
        fidelity, spatial, balancer="core/balance", balancer_options={"warmup": 0.25, "finish": 0.75}, num_inference_steps=4, device="cpu"
    )
    assert any("different processes" in remark for remark in composer.remarks())
    result = composer(prompt, read_condition(kind, told), seed=2)
    assert result.image.size == (128, 128) and bool(result.latents.isfinite().all())
    assert [entry.acting for entry in result.trace.entries] == [
        (spatial,),
        ("mini/flow", spatial),
        ("mini/flow", spatial),
        ("mini/flow",),
    ]
    assert result.trace.entries[0].step.alpha_bar == pytest.approx(0.00466, rel=1e-2)
    weights = result.trace.entries[2].weights
    assert float((weights.sum(dim=0) - 1).abs().max()) < 1e-5 and float(weights.std()) > 0, "the balance moved"
