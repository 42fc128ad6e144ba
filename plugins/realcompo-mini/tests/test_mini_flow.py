"""The rectified flow: what it is asked for, that a stop changes nothing, how it is drawn and written. One block, few steps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

torch = pytest.importorskip("torch")
flow = pytest.importorskip("realcompo_mini.train.flow")
from realcompo_mini.train import dataset, export, loop, sample  # noqa: E402
from realcompo_mini.train.common import Settings, load_checkpoint, plateau  # noqa: E402
from realcompo_mini.train.models import build_transformer, shifted, start_transformer  # noqa: E402

SCENES = 12


def tiny() -> Any:
    from diffusers import PixArtTransformer2DModel

    facts = {**build_transformer().config, "num_attention_heads": 1, "num_layers": 1, "cross_attention_dim": 32}
    return PixArtTransformer2DModel.from_config(facts)


@pytest.fixture
def settings(tmp_path: Path, sprite_file: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Twelve scenes of stand-in sprites, four held out, a network of one block."""
    if not (export.load_base(Settings(tmp_path)).folder / "vae").is_dir():
        pytest.skip("no weights in this checkout")
    (tmp_path / "sprites").mkdir()
    (tmp_path / "sprites" / "sprites.npz").symlink_to(sprite_file)
    monkeypatch.setattr(dataset, "CHECKED", 4)
    for module in (flow, export):
        monkeypatch.setattr(module, "build_transformer", tiny)
    monkeypatch.setattr(flow.Flow, "batch", 4)
    monkeypatch.setattr(flow.Flow, "check", 3)
    return Settings(tmp_path, scenes=SCENES, steps=3)


def test_stopped_at_every_step_it_ends_at_the_same_weights(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards that noise, levels and empty captions of a step do not depend on where the training was stopped."""
    monkeypatch.setattr(flow.Flow, "drawn", lambda self, average: None)
    assert loop.run(flow.Flow(settings), settings)
    whole = load_checkpoint(settings.out / "flow" / "checkpoint.pt")
    (settings.out / "flow").rename(settings.out / "whole")
    stops = 0
    while not loop.run(flow.Flow(settings), (parts := Settings(settings.out, scenes=SCENES, steps=3, minutes=0))):
        stops += 1
    assert stops == 2 and parts.minutes == 0
    again = load_checkpoint(settings.out / "flow" / "checkpoint.pt")
    for part in ("model", "average"):
        for name, tensor in whole[part].items():
            torch.testing.assert_close(again[part][name], tensor, rtol=0, atol=0)
    start = flow.Flow(settings).model.state_dict()
    assert any(not torch.equal(tensor, start[name]) for name, tensor in whole["model"].items()), "nothing was trained"


def test_log_sheet_and_export(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the stage from its command to a folder that diffusers reads: half precision, the shift, the base's own VAE."""
    from diffusers import FlowMatchEulerDiscreteScheduler, PixArtTransformer2DModel
    from PIL import Image

    shifted_more = Settings(settings.out, scenes=SCENES, steps=3, shift=3.0)
    flow.train(shifted_more)
    log = (settings.out / "flow" / "log.txt").read_text()
    assert len(re.findall(r"σ=0\.\d [0-9.]+ \| [0-9.]+", log)) == 4 and "x0 error" in log  # three of v, one of x0
    with Image.open(settings.out / "flow" / "sheet-000003.png") as sheet:
        assert sheet.size == (8 * 130, 2 * 130)
    export.train(settings)
    folder = settings.out / "export" / "flow"
    assert FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler").config.shift == 3.0
    kept = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float16}
    network = PixArtTransformer2DModel.from_pretrained(folder / "transformer")
    average = load_checkpoint(settings.out / "flow" / "checkpoint.pt")["average"]
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, average[name].half().float(), rtol=0, atol=0)
    base = export.load_base(settings).folder
    for part in ("text_encoder/model.safetensors", "tokenizer/tokenizer.json", "vae/config.json"):
        assert (folder / part).read_bytes() == (base / part).read_bytes()
    assert json.loads((folder / "training.json").read_text())["step"] == 3
    index = json.loads((folder / "model_index.json").read_text())
    assert {name for name, value in index.items() if isinstance(value, list)} == {file.name for file in folder.iterdir() if file.is_dir()}
    assert not [file for file in folder.rglob("*.json") if str(settings.out) in file.read_text()], "a path of the machine that trained it"
    with pytest.raises(RuntimeError, match="--shift 3"):
        flow.Flow(Settings(settings.out, scenes=SCENES, shift=2.0))
    assert flow.Flow(settings).shift == 3.0  # the training's own, when none is asked for


def course(velocity: Any) -> Any:
    """The stage with four scenes, each its own words, and a network that is a function of (z, σ, scene)."""
    made = flow.Flow.__new__(flow.Flow)
    pictures = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    tokens = torch.arange(1, 5)[:, None].repeat(1, 3)
    made.scenes = SimpleNamespace(clean=lambda index: pictures[index], tokens=tokens)
    made.held_out = type("Kept", (), {"clean": lambda self, index: pictures[index], "tokens": tokens, "__len__": lambda self: 4})()
    made.base = SimpleNamespace(hidden=lambda tokens: tokens, device=torch.device("cpu"))
    made.empty, made.shift, made.model, made.forward = torch.zeros(3, dtype=torch.long), 2.0, None, None
    made.predict = lambda model, z, sigma, hidden: velocity(z, sigma.view(-1, 1, 1, 1), pictures[hidden[:, 0] - 1])
    return made


def exact(z: Any, sigma: Any, clean: Any) -> Any:
    """v of the one picture: z = x₀ + σ v."""
    return (z - clean) / sigma


def test_the_answer_is_noise_less_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the sign and the two ends of the flow: 0 is the picture, 1 the noise."""
    monkeypatch.setattr(flow, "EMPTY", 0.0)
    torch.manual_seed(0)
    index = np.arange(4)
    assert float(course(exact).loss(index, 0)) < 1e-4
    assert float(course(lambda z, sigma, clean: -exact(z, sigma, clean)).loss(index, 0)) > 1
    said = course(exact).checked()
    pairs = [(float(a), float(b)) for a, b in re.findall(r"([0-9.]+) \| ([0-9.]+)", said)]
    assert len(pairs) == 4 and all(right < 1e-4 < 0.5 < other for right, other in pairs)
    assert pairs[3][1] == pytest.approx(pairs[2][1] * 0.9**2, rel=1e-2), "x0 error is σ² of v's"


def test_no_words_are_empty_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards that guidance has an unconditional half: with every caption dropped, the network sees the empty one."""
    monkeypatch.setattr(flow, "EMPTY", 1.0)
    seen: list[Any] = []
    made = course(exact)
    made.base.hidden = lambda tokens: seen.append(tokens) or tokens + 1
    made.loss(np.arange(4), 0)
    assert not seen[0].any()


def test_a_shift_moves_levels_towards_noise_and_leaves_the_ends() -> None:
    ends = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(shifted(ends, 1.0), ends)
    torch.testing.assert_close(shifted(ends, 3.0), torch.tensor([0.0, 0.75, 1.0]))
    torch.manual_seed(0)
    drawn = flow.levels(20_000, 3.0)
    assert float(drawn.median()) == pytest.approx(0.75, abs=0.01) and 0 < float(drawn.min()) < float(drawn.max()) < 1


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_follows_the_flow_from_noise_to_the_picture(shift: float) -> None:
    """Along the flow of one picture a step of any length is exact, so any number of them ends at it."""
    goal = torch.linspace(-0.9, 0.9, 2)[:, None, None, None].expand(2, 8, 16, 16)
    seen: list[float] = []

    def velocity(z: Any, sigma: Any) -> Any:
        seen.append(float(sigma[0]))
        return exact(z, sigma.view(-1, 1, 1, 1), goal)

    vae = SimpleNamespace(decode=lambda z: SimpleNamespace(sample=z[:, :3]), config=SimpleNamespace(scaling_factor=0.5))
    pictures = sample.draw_flow(velocity, 2, vae, steps=4, shift=shift)  # type: ignore[arg-type]
    assert seen[0] == 1.0 and seen == sorted(seen, reverse=True) and len(seen) == 4
    assert seen[2] == pytest.approx(shift / (1 + shift))
    np.testing.assert_allclose(pictures[:, 0, 0, 0], (goal[:, 0, 0, 0] / 0.5).clamp(-1, 1).add(1).mul(127.5).round().numpy(), atol=1)


def test_the_rate_is_constant_then_falls_to_nothing() -> None:
    """Guards that a training may be lengthened: until the fall the rate is the same whatever the total."""
    assert [plateau(step, 1000, 2.0, 200) for step in (0, 199, 200, 799, 1000)] == [0.01, 2.0, 2.0, 2.0, 0.0]
    assert plateau(700, 1000, 2.0, 200) == plateau(700, 10**6, 2.0, 0) == 2.0
    falling = [plateau(step, 1000, 2.0, 200) for step in range(800, 1001)]
    assert falling == sorted(falling, reverse=True) and falling[50] == pytest.approx(1.0)
    made = flow.Flow.__new__(flow.Flow)
    made.settings = Settings(Path())
    assert made.rate(799, 1000) == made.peak > made.rate(900, 1000) > 0
    made.settings = Settings(Path(), decay=50)
    assert made.rate(949, 1000) == made.peak > made.rate(960, 1000)


def test_size_and_start() -> None:
    """Guards the limits of the family (9 million parameters, 18 MB in half precision), and that a new network answers nothing at all."""
    network = build_transformer()
    assert sum(tensor.numel() for tensor in network.state_dict().values()) < 9e6
    small = tiny()
    start_transformer(small)
    z, text = torch.randn(2, 8, 16, 16), torch.randn(2, 5, 128)
    assert not small(z, encoder_hidden_states=text, timestep=torch.tensor([10.0, 900.0])).sample.any()
    torch.nn.init.normal_(small.proj_out.weight, std=0.1)
    outs = [small(z, encoder_hidden_states=words, timestep=torch.tensor([10.0, 900.0])).sample for words in (text, torch.randn(2, 5, 128))]
    assert float((outs[0] - outs[1]).detach().abs().max()) > 1e-3, "the words change the answer from the first step on"
