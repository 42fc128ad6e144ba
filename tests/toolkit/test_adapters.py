"""Adapters of every kind and spelling: what they make of a weight, against formulas written out here; refusals name the kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from realcompo.errors import BadCheckpoint
from realcompo.specs import BranchSpec
from realcompo.toolkit import UNetBranch, UNetOptions, open_checkpoint
from realcompo.toolkit.loading import Loader
from realcompo.toolkit.loras import Loras

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
Fetch = Callable[[str], Path]
ATTN = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.resnets.0.conv1"
FLAT = ATTN.replace(".", "_")


@pytest.fixture
def networks(checkpoint: Fetch) -> dict[str, Any]:
    """Networks of our own in float64, so that nothing but the formula is compared."""
    loader = Loader(open_checkpoint(str(checkpoint("sd1")), UNetOptions()), UNetOptions(), dtype="float64", share=False)
    torch.manual_seed(0)
    return {part: loader.module(part) for part in ("unet", "text_encoder")}


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64) * 0.3


def changed(networks: dict[str, Any], tensors: dict[str, torch.Tensor], file: Path, scale: float = 1.0, **metadata: str) -> dict[str, Any]:
    """Module's tensor → its change, of all that changed at all."""
    before = {(p, n): t.detach().clone() for p, net in networks.items() for n, t in net.named_parameters()}
    save_file({name: t.clone().contiguous() for name, t in tensors.items()}, str(file), metadata=metadata or None)
    Loras(networks).put([(file, scale)])
    after = {(p, n): t.detach() for p, net in networks.items() for n, t in net.named_parameters()}
    return {f"{p}.{n}": after[p, n] - before[p, n] for p, n in before if not torch.equal(after[p, n], before[p, n])}


def only(found: dict[str, Any], name: str) -> torch.Tensor:
    assert list(found) == [name], "this module is changed, and no other"
    return found[name]


def close(have: torch.Tensor, want: torch.Tensor) -> None:
    assert want.abs().max() > 1e-2, "a change that could be missed"
    torch.testing.assert_close(have, want, atol=1e-9, rtol=1e-9)


SPELLINGS = {
    "kohya": (f"lora_unet_{FLAT}", "lora_down.weight", "lora_up.weight"),
    "kohya over the original layout": (
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
        "lora_down.weight",
        "lora_up.weight",
    ),
    "comfy": ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q", "lora_down.weight", "lora_up.weight"),
    "comfy, whole": ("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q", "lora_A.weight", "lora_B.weight"),
    "diffusers": (f"unet.{ATTN}", "lora_A.weight", "lora_B.weight"),
    "diffusers with a set's name": (f"unet.{ATTN}", "lora_A.default.weight", "lora_B.default.weight"),
    "diffusers, older": (f"unet.{ATTN}", "lora.down.weight", "lora.up.weight"),
    "diffusers, processors": (f"unet.{ATTN.removesuffix('.to_q')}.processor.to_q_lora", "down.weight", "up.weight"),
    "diffusers, processors alone": (f"{ATTN.removesuffix('.to_q')}.processor.to_q_lora", "down.weight", "up.weight"),
    "peft": (f"base_model.model.{ATTN}", "lora_A.weight", "lora_B.weight"),
    "peft in a pipeline": (f"base_model.model.unet.{ATTN}", "lora_A.weight", "lora_B.weight"),
    "plain": (ATTN, "lora_A.weight", "lora_B.weight"),
    "compiled": (f"_orig_mod.{ATTN}", "lora_A.weight", "lora_B.weight"),
    "in a state_dict": (f"state_dict.module.lora_unet_{FLAT}", "lora_down.weight", "lora_up.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_change(networks: dict[str, Any], tmp_path: Path, spelling: str) -> None:
    stem, down, up = SPELLINGS[spelling]
    weight = networks["unet"].get_submodule(ATTN).weight
    a, b = rand(3, weight.shape[1]), rand(weight.shape[0], 3)
    found = changed(networks, {f"{stem}.{down}": a, f"{stem}.{up}": b}, tmp_path / "x.safetensors", 0.5)
    close(only(found, f"unet.{ATTN}.weight"), 0.5 * b @ a)


@pytest.mark.parametrize(
    "stem",
    [
        "lora_te_text_model_encoder_layers_1_mlp_fc1",
        "lora_te1_text_model_encoder_layers_1_mlp_fc1",
        "text_encoder.text_model.encoder.layers.1.mlp.fc1",
        "base_model.model.text_model.encoder.layers.1.mlp.fc1",
    ],
)
def test_text_encoders(networks: dict[str, Any], tmp_path: Path, stem: str) -> None:
    a, b = rand(2, 32), rand(64, 2)
    found = changed(networks, {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b}, tmp_path / "x.safetensors")
    (name,) = found
    assert name.startswith("text_encoder.") and name.endswith("encoder.layers.1.mlp.fc1.weight")
    close(found[name], b @ a)


def test_both_text_encoders_of_sdxl(checkpoint: Fetch, tmp_path: Path) -> None:
    """te1 and te2, and in PEFT's layout, which does not say whose, the one that it fits."""
    loader = Loader(open_checkpoint(str(checkpoint("sdxl")), UNetOptions()), UNetOptions(), dtype="float64", share=False)
    networks = {part: loader.module(part) for part in ("unet", "text_encoder", "text_encoder_2")}
    tail = "text_model_encoder_layers_1_self_attn_q_proj"
    state = {}
    for part, width in (("te1", 32), ("te2", 48)):
        state |= {f"lora_{part}_{tail}.lora_down.weight": rand(2, width), f"lora_{part}_{tail}.lora_up.weight": rand(width, 2)}
    found = changed(networks, state, tmp_path / "x.safetensors")
    assert sorted(name.split(".")[0] for name in found) == ["text_encoder", "text_encoder_2"]
    stem = "base_model.model.text_model.encoder.layers.0.self_attn.k_proj"
    found = changed(networks, {f"{stem}.lora_A.weight": rand(2, 48), f"{stem}.lora_B.weight": rand(48, 2)}, tmp_path / "y.safetensors")
    assert [name.split(".")[0] for name in found] == ["text_encoder_2"]
    with pytest.raises(BadCheckpoint, match=r"it is for SD 1\.x or 2\.x"):
        changed(networks, {f"lora_te_{tail}.lora_down.weight": rand(2, 32)}, tmp_path / "z.safetensors")


def test_alphas_and_ranks_of_each_module(networks: dict[str, Any], tmp_path: Path) -> None:
    """In the file; else in diffusers' metadata; else in PEFT's config beside it, with patterns and rsLoRA."""
    other = ATTN.replace("to_q", "to_v")
    a = {ATTN: rand(4, 8), other: rand(2, 8)}
    b = {ATTN: rand(8, 4), other: rand(8, 2)}
    kohya: dict[str, torch.Tensor] = {}
    for name, alpha in ((ATTN, 1.0), (other, 8.0)):
        stem = f"lora_unet_{name.replace('.', '_')}"
        kohya |= {f"{stem}.lora_down.weight": a[name], f"{stem}.lora_up.weight": b[name], f"{stem}.alpha": torch.tensor(alpha)}
    found = changed(networks, kohya, tmp_path / "a.safetensors")
    close(found[f"unet.{ATTN}.weight"], b[ATTN] @ a[ATTN] / 4)
    close(found[f"unet.{other}.weight"], b[other] @ a[other] * 4)
    plain = {f"unet.{n}.lora_{x}.weight": t for x, table in (("A", a), ("B", b)) for n, t in table.items()}
    told = json.dumps({"unet.r": 4, "unet.lora_alpha": 8, "unet.rank_pattern": {"to_v": 2}, "unet.alpha_pattern": {"attn1.to_v": 1}})
    found = changed(networks, plain, tmp_path / "b.safetensors", lora_adapter_metadata=told)
    close(found[f"unet.{ATTN}.weight"], b[ATTN] @ a[ATTN] * 2)
    close(found[f"unet.{other}.weight"], b[other] @ a[other] / 2)
    peft = {name.replace("unet.", "base_model.model."): tensor for name, tensor in plain.items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 6, "use_rslora": True}))
    found = changed(networks, peft, tmp_path / "adapter_model.safetensors")
    close(found[f"unet.{ATTN}.weight"], b[ATTN] @ a[ATTN] * 3)
    close(found[f"unet.{other}.weight"], b[other] @ a[other] * 6 / 2**0.5)


def test_convolutions(networks: dict[str, Any], tmp_path: Path) -> None:
    """LoCon: the kernel in the first tensor, or in one between; as convolutions of the two do."""
    weight = networks["unet"].get_submodule(CONV).weight.detach().clone()
    stem, x = f"lora_unet_{CONV.replace('.', '_')}", rand(1, 8, 6, 6)
    down, up, mid = rand(3, 8, 3, 3), rand(8, 3, 1, 1), rand(3, 3, 3, 3)
    conv = torch.nn.functional.conv2d
    change = only(
        changed(networks, {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}, tmp_path / "a.safetensors"),
        f"unet.{CONV}.weight",
    )
    close(conv(x, change, padding=1), conv(conv(x, down, padding=1), up))
    small = rand(3, 8, 1, 1)
    state = {f"{stem}.lora_down.weight": small, f"{stem}.lora_up.weight": up, f"{stem}.lora_mid.weight": mid}
    change = only(changed(networks, state, tmp_path / "b.safetensors"), f"unet.{CONV}.weight")
    close(conv(x, change, padding=1), conv(conv(conv(x, small), mid, padding=1), up))
    assert weight.shape == change.shape


@pytest.mark.parametrize("rows", [False, True])
def test_dora(networks: dict[str, Any], tmp_path: Path, rows: bool) -> None:
    """m · (W + ΔW) / ‖W + ΔW‖, by columns (kohya) and by rows; `scale` is of the whole change."""
    name = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"  # not square: 8 → 64
    weight = networks["unet"].get_submodule(name).weight.detach().clone()
    a, b = rand(2, weight.shape[1]), rand(weight.shape[0], 2)
    lengths = rand(weight.shape[0], 1).abs() + 0.5 if rows else rand(1, weight.shape[1]).abs() + 0.5
    plain = weight + 1.5 * b @ a
    want = plain * lengths / plain.norm(dim=1 if rows else 0, keepdim=True) - weight
    stem = f"lora_unet_{name.replace('.', '_')}"
    state = {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b, f"{stem}.alpha": torch.tensor(3.0), f"{stem}.dora_scale": lengths}
    close(only(changed(networks, state, tmp_path / "x.safetensors", 0.5), f"unet.{name}.weight"), 0.5 * want)


def test_dora_as_peft_computes_it(networks: dict[str, Any], tmp_path: Path) -> None:
    """PEFT's own layer is the oracle, for a linear layer and a convolution; B is opened and the lengths are moved."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    config = LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules=["attn1.to_q", "resnets.0.conv1"])
    model: Any = get_peft_model(networks["unet"], config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        if "magnitude" in name:
            parameter.data *= 1.3
    state = {name: tensor.double() for name, tensor in get_peft_model_state_dict(model).items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": True}))
    plain = {name.replace(".base_layer", ""): t.clone() for name, t in model.base_model.model.state_dict().items() if "lora_" not in name}
    theirs = {name: tensor.clone() for name, tensor in model.merge_and_unload().state_dict().items()}
    networks["unet"].load_state_dict(plain)
    changed(networks, state, tmp_path / "adapter_model.safetensors")
    mine = networks["unet"].state_dict()
    differ = [name for name in theirs if not torch.equal(theirs[name], plain[name])]
    assert any("conv1" in name for name in differ) and any("to_q" in name for name in differ)
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, atol=1e-6, rtol=1e-6)


def test_loha_and_lokr(networks: dict[str, Any], tmp_path: Path) -> None:
    stem = f"lora_unet_{FLAT}"
    one, two, three, four = rand(8, 2), rand(2, 8), rand(8, 2), rand(2, 8)
    state = dict(zip((f"{stem}.hada_{n}" for n in ("w1_a", "w1_b", "w2_a", "w2_b")), (one, two, three, four), strict=True))
    found = changed(networks, {k: v * 3 for k, v in state.items()} | {f"{stem}.alpha": torch.tensor(1.0)}, tmp_path / "a.safetensors")
    close(only(found, f"unet.{ATTN}.weight"), 81 * (one @ two) * (three @ four) / 2)
    small, big = rand(2, 4), rand(4, 2)
    found = changed(
        networks, {f"{stem}.lokr_w1": small, f"{stem}.lokr_w2": big, f"{stem}.alpha": torch.tensor(7.0)}, tmp_path / "b.safetensors"
    )
    close(only(found, f"unet.{ATTN}.weight"), torch.kron(small, big))  # whole matrices have no rank: alpha means nothing
    a, b = rand(4, 1), rand(1, 2)
    state = {f"{stem}.lokr_w1": small, f"{stem}.lokr_w2_a": a, f"{stem}.lokr_w2_b": b, f"{stem}.alpha": torch.tensor(0.5)}
    close(only(changed(networks, state, tmp_path / "c.safetensors"), f"unet.{ATTN}.weight"), 0.5 * torch.kron(small, a @ b))


@pytest.mark.parametrize("kind", ["LoHa", "LoKr"])
def test_loha_and_lokr_as_peft_computes_them(networks: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """Of a convolution too, whose tensors are of another form in either."""
    import peft

    extra = {} if kind == "LoHa" else {"decompose_both": True}
    config = getattr(peft, f"{kind}Config")(r=2, alpha=3, use_effective_conv2d=True, target_modules=["attn1.to_q", CONV], **extra)
    model: Any = peft.get_peft_model(networks["unet"], config)
    for name, parameter in model.named_parameters():
        if "hada_" in name or "lokr_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    state = {name: tensor.double() for name, tensor in peft.get_peft_model_state_dict(model).items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": kind.upper(), "r": 2, "alpha": 3}))
    plain = {
        n.replace(".base_layer", ""): t.clone()
        for n, t in model.base_model.model.state_dict().items()
        if "hada" not in n and "lokr" not in n
    }
    theirs = {name: tensor.clone() for name, tensor in model.merge_and_unload().state_dict().items()}
    networks["unet"].load_state_dict(plain)
    changed(networks, state, tmp_path / "adapter_model.safetensors")
    assert not torch.equal(theirs[f"{CONV}.weight"], plain[f"{CONV}.weight"])
    for name, tensor in theirs.items():
        torch.testing.assert_close(networks["unet"].state_dict()[name], tensor, atol=1e-6, rtol=1e-6)


def test_whole_differences_and_biases(networks: dict[str, Any], tmp_path: Path) -> None:
    norm = "down_blocks.0.resnets.0.norm1"
    state = {f"lora_unet_{norm.replace('.', '_')}.w_norm": rand(8), f"lora_unet_{norm.replace('.', '_')}.b_norm": rand(8)}
    state |= {f"lora_unet_{CONV.replace('.', '_')}.diff": rand(8, 8, 3, 3), f"lora_unet_{CONV.replace('.', '_')}.diff_b": rand(8)}
    found = changed(networks, state, tmp_path / "x.safetensors", 2.0)
    assert set(found) == {f"unet.{one}.{end}" for one in (norm, CONV) for end in ("weight", "bias")}
    close(found[f"unet.{CONV}.bias"], 2 * state[f"lora_unet_{CONV.replace('.', '_')}.diff_b"])


K = f"lora_unet_{FLAT}"
FULL = {f"{K}.lora_down.weight": torch.ones(2, 8), f"{K}.lora_up.weight": torch.ones(8, 2)}
ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({f"{K}.weight": ONE, f"{K}.on_input": ONE}, "of the kind IA3"),
        ({f"base_model.model.{ATTN}.ia3_l": ONE}, "of the kind IA3"),
        ({f"{K}.oft_blocks": torch.ones(2, 4, 4)}, "of the kind OFT"),
        ({f"base_model.model.{ATTN}.oft_R.weight": torch.ones(2, 6)}, "of the kind OFT"),
        ({f"{K}.oft_blocks": torch.ones(2, 2, 4, 4)}, "of the kind BOFT"),
        ({f"base_model.model.{ATTN}.boft_R": ONE}, "of the kind BOFT"),
        ({f"{K}.a1.weight": ONE, f"{K}.b1.weight": ONE}, "of the kind GLoRA"),
        ({f"base_model.model.{ATTN}.vera_lambda_b": ONE}, "of the kind VeRA"),
        ({f"base_model.model.{ATTN}.lora_E": ONE}, "of the kind AdaLoRA"),
        ({**FULL, "bundle_emb.cat.string_to_param.*": ONE}, "embeddings of words"),
        ({**FULL, f"{K}.surprise": ONE}, "1 of its 3 tensors have no place in it"),
        ({**FULL, "lora_unet_down_blocks_9_nothing.lora_up.weight": ONE}, "1 of its 3 tensors have no place in it"),
        ({f"{K}.lora_down.weight": torch.ones(2, 8)}, "its up is missing"),
        ({f"{K}.alpha": ONE}, "it has alpha alone"),
        ({f"{K}.hada_w1_a": ONE}, "the LoHa cannot be put on"),
        ({f"{K}.lokr_w1": ONE}, "its lokr_w2 is missing"),
        ({**FULL, f"{K}.diff": torch.ones(8, 8)}, "of two kinds at once"),
        ({**FULL, f"unet.{ATTN}.lora_A.weight": torch.ones(2, 8)}, "in two spellings"),
        ({**FULL, f"{K}.dora_scale": torch.ones(1, 5)}, r"its DoRA has lengths of \(1, 5\)"),
        ({**FULL, f"{K}.diff_b": torch.ones(8)}, "its bias of 8 numbers has no place"),
        ({**FULL, f"{K}.lora_down.weight": torch.ones(2, 9)}, r"it is for a weight of \(8, 9\), not \(8, 8\)"),
        ({f"{K}.lora_down.weight": torch.ones(2, 8), f"{K}.lora_up.weight": torch.ones(8, 3)}, "do not fit each other"),
        ({**FULL, "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": ONE}, "it is for SDXL, which has two text encoders"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": ONE}, "it is for Flux"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": ONE}, "it is for Flux"),
        ({"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight": ONE}, "it is for Stable Diffusion 3"),
        ({"lora_unet_down_blocks_9_attn2_to_k.lora_down.weight": torch.ones(2, 2048)}, "it is for SDXL: its text is 2048 wide"),
        ({}, "it holds no tensors"),
    ],
)  # fmt: skip
def test_never_half_applied(networks: dict[str, Any], tmp_path: Path, state: dict[str, Any], said: str) -> None:
    """Refused in a few words, and no weight has changed."""
    before = [tensor.clone() for net in networks.values() for tensor in net.state_dict().values()]
    with pytest.raises(BadCheckpoint, match=said) as error:
        changed(networks, state, tmp_path / "x.safetensors")
    assert len(str(error.value)) < 600
    assert all(torch.equal(a, b) for a, b in zip(before, (t for net in networks.values() for t in net.state_dict().values()), strict=True))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "OFT"}, "of the kind OFT"),
        ({"peft_type": "LORA", "init_lora_weights": "pissa_niter_4"}, "begun by pissa"),
        ({"peft_type": "LORA", "alora_invocation_tokens": [1]}, "alora"),
    ],
)
def test_what_only_a_config_tells(networks: dict[str, Any], tmp_path: Path, config: dict[str, Any], said: str) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    stem = f"base_model.model.{ATTN}"
    with pytest.raises(BadCheckpoint, match=said):
        state = {f"{stem}.lora_A.weight": rand(2, 8), f"{stem}.lora_B.weight": rand(8, 2)}
        changed(networks, state, tmp_path / "adapter_model.safetensors")


def test_numbers_that_overflowed(networks: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="its training overflowed"):
        changed(networks, {**FULL, f"{K}.lora_up.weight": torch.full((8, 2), float("nan"))}, tmp_path / "x.safetensors")


def test_said_before_weights_are_loaded(checkpoint: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inspect`, which `check` asks, compares the adapter with the configs' networks."""
    monkeypatch.setattr(Loader, "module", lambda *_: pytest.fail("a network was loaded"))
    file, folder = tmp_path / "x.safetensors", str(checkpoint("sd1"))
    save_file(FULL, str(file))
    UNetBranch.inspect(SPEC, UNetOptions(lora=str(file)), folder)
    save_file({**FULL, f"{K}.surprise": ONE}, str(file))
    with pytest.raises(BadCheckpoint, match="have no place in it"):
        UNetBranch.inspect(SPEC, UNetOptions(lora=str(file)), folder)
