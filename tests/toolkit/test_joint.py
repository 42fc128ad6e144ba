"""Maps of transformers: what is read beside the network is what its own attention multiplies its values by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, PixArtTransformer2DModel, SD3Transformer2DModel
from torch import Tensor, nn

from realcompo.errors import BadOption
from realcompo.toolkit.joint import JointPlace, block_places, stream_heads, text_columns, whole_rows
from realcompo.toolkit.maps import PlaceReader
from realcompo.toolkit.options import TransformerOptions
from realcompo.toolkit.transformer import chosen_blocks

B, N, L = 2, 16, 10
COLUMNS = (slice(0, 4), slice(4, 10))


def opened(network: Any, seed: int = 0) -> Any:
    """Weights of another size than they start with, norms' too: a norm left out would pass where it is the identity."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.2 if parameter.ndim < 2 else 0.0, 0.5 if parameter.ndim < 2 else 0.9 / parameter.shape[-1] ** 0.5)
    return network.eval()


def sd3(**config: Any) -> Any:
    settings = {
        "sample_size": 8,
        "in_channels": 4,
        "num_layers": 3,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 12,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 6,
        "out_channels": 4,
        "pos_embed_max_size": 16,
        "qk_norm": "rms_norm",
    }
    cls: Any = SD3Transformer2DModel
    return opened(cls(**{**settings, **config}))


def flux() -> Any:
    cls: Any = FluxTransformer2DModel
    return opened(
        cls(
            in_channels=8,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=12,
            pooled_projection_dim=6,
            axes_dims_rope=(4, 6, 6),
        )
    )


def run_sd3(network: Any) -> None:
    made = torch.Generator().manual_seed(1)
    network(
        hidden_states=torch.randn(B, 4, 8, 8, generator=made),
        encoder_hidden_states=torch.randn(B, L, 12, generator=made),
        pooled_projections=torch.randn(B, 6, generator=made),
        timestep=torch.tensor([500.0] * B),
    )


def run_flux(network: Any) -> None:
    made = torch.Generator().manual_seed(1)
    ids = torch.stack(torch.meshgrid(torch.zeros(1), torch.arange(4.0), torch.arange(4.0), indexing="ij"), dim=-1).flatten(0, 2)
    network(
        hidden_states=torch.randn(B, N, 8, generator=made),
        encoder_hidden_states=torch.randn(B, L, 12, generator=made),
        pooled_projections=torch.randn(B, 6, generator=made),
        timestep=torch.tensor([0.5] * B),
        img_ids=ids,
        txt_ids=torch.zeros(L, 3),
    )


def calls(network: Any, module: nn.Module, run: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """What a module was called with, and what it returned."""
    seen: list[Any] = []
    handle = module.register_forward_hook(lambda module, args, kwargs, output: seen.append((args, kwargs, output)), with_kwargs=True)
    try:
        with torch.no_grad():
            run(network)
    finally:
        handle.remove()
    return seen[0]  # type: ignore[no-any-return]


def merged(rows: Tensor, values: Tensor) -> Tensor:
    """Rows times values, heads side by side: (B, n, C)."""
    return (rows @ values).transpose(1, 2).flatten(2)


CASES = {
    "sd3": (sd3, run_sd3, "transformer_blocks"),
    "sd3.5 medium": (lambda: sd3(dual_attention_layers=(0, 1)), run_sd3, "transformer_blocks"),
    "sd3 without norm": (lambda: sd3(qk_norm=None), run_sd3, "transformer_blocks"),
    "flux": (flux, run_flux, "transformer_blocks"),
    "flux single": (flux, run_flux, "single_transformer_blocks"),
}


@pytest.mark.parametrize("case", CASES)
def test_whole_rows_are_the_modules_own(case: str) -> None:
    """Rows over all keys, times the values, through the module's own output projection, are its output; the map is their quotient."""
    make, run, blocks = CASES[case]
    network = make()
    places = block_places(getattr(network, blocks), blocks, 1, COLUMNS)
    assert all(isinstance(place, JointPlace) for place in places)
    for place in places:
        attn: Any = place.module
        args, kwargs, output = calls(network, attn, run)
        with torch.no_grad():
            heads = place.heads(args, kwargs)  # type: ignore[attr-defined]
            keys, values = torch.cat([heads.text_key, heads.key], dim=2), torch.cat([heads.text_value, heads.value], dim=2)
            rows = whole_rows(heads.query, keys)
            pixels, text = merged(rows, values), merged(whole_rows(heads.text_query, keys), values)
            mine = place.probabilities(args, kwargs)
            if blocks == "single_transformer_blocks":  # no projection of its own: the block has one for attention and MLP
                torch.testing.assert_close(torch.cat([text, pixels], dim=1), output, rtol=1e-5, atol=1e-5)
            else:
                image = output[0] if isinstance(output, tuple) else output
                torch.testing.assert_close(attn.to_out[0](pixels), image, rtol=1e-5, atol=1e-5)
                if not getattr(attn, "context_pre_only", False):
                    torch.testing.assert_close(attn.to_add_out(text), output[1], rtol=1e-5, atol=1e-5)
        shares = [rows[..., one] / rows[..., one].sum(dim=-1, keepdim=True) for one in COLUMNS]
        torch.testing.assert_close(mine, torch.cat(shares, dim=-1), rtol=1e-5, atol=1e-6)
        assert mine.shape == (B, attn.heads, N, L)
        flat = mine - mine.mean(dim=2, keepdim=True)
        assert float(flat.abs().max()) > 1e-2, "every pixel alike: the test would not see whose row it is"


def test_the_last_block_of_sd3_has_no_text_output() -> None:
    """So the case above is tested on the image side there."""
    assert [place.module.context_pre_only for place in block_places(sd3().transformer_blocks, "", 1, COLUMNS)] == [False, False, True]


@pytest.mark.parametrize("left_out", ["norm_q", "norm_added_k", "image_rotary_emb"])
def test_what_is_left_out_is_missed(left_out: str) -> None:
    """The control: without a norm, or without the rotary embedding, the rows are others."""
    network = flux()
    (place, *_) = block_places(network.transformer_blocks, "", 1, COLUMNS)
    args, kwargs, _ = calls(network, place.module, run_flux)
    right = place.probabilities(args, kwargs)
    if left_out == "image_rotary_emb":
        kwargs = {**kwargs, left_out: None}
    else:
        setattr(place.module, left_out, nn.Identity())
    assert float((place.probabilities(args, kwargs) - right).detach().abs().max()) > 1e-2


def test_cross_attention_of_pixart() -> None:
    """`attn2`, with padding masked as the network masks it."""
    cls: Any = PixArtTransformer2DModel
    network = opened(
        cls(num_attention_heads=2, attention_head_dim=8, num_layers=2, cross_attention_dim=16, caption_channels=12, sample_size=8)
    )
    mask = torch.ones(B, L)
    mask[:, 6:] = 0

    def run(network: Any) -> None:
        made = torch.Generator().manual_seed(1)
        text = torch.randn(B, L, 12, generator=made)
        network(
            torch.randn(B, 4, 8, 8, generator=made),
            encoder_hidden_states=text,
            timestep=torch.tensor([500] * B),
            encoder_attention_mask=mask,
        )

    for place in block_places(network.transformer_blocks, "transformer_blocks", 1, (slice(0, L),)):
        attn: Any = place.module
        args, kwargs, output = calls(network, attn, run)
        with torch.no_grad():
            rows = place.probabilities(args, kwargs)
            values = attn.to_v(kwargs["encoder_hidden_states"]).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            torch.testing.assert_close(attn.to_out[0](merged(rows, values)), output, rtol=1e-5, atol=1e-5)
        assert float(rows[..., 6:].abs().max()) == 0 and rows.shape == (B, 2, N, L)


def test_nothing_runs_after_the_last_place() -> None:
    """A read that stops costs the blocks up to its last place; read to the end, the rest has no graph."""
    network = flux()
    places = block_places(network.transformer_blocks, "", 1, COLUMNS)[:1]
    ran: list[str] = []
    for name, block in (
        *network.transformer_blocks.named_children(),
        *((f"s{n}", b) for n, b in network.single_transformer_blocks.named_children()),
    ):
        block.register_forward_hook(lambda *_, name=name: ran.append(name))
    weights = torch.zeros(B, 1, L)
    weights[:, 0, 5] = 1
    reader = PlaceReader(network, places)
    maps, result = reader.read(lambda: run_flux(network), weights, (8, 8))
    assert result is None and ran == [] and maps.shape == (B, 1, 4, 4)
    again, _ = reader.read(lambda: run_flux(network), weights, (8, 8), stop=False)
    assert ran == ["0", "1", "s0", "s1"] and torch.equal(maps, again)


def test_single_blocks_are_split_at_the_texts_end() -> None:
    network = flux()
    _, kwargs, _ = calls(network, network.single_transformer_blocks[0].attn, run_flux)
    heads = stream_heads(network.single_transformer_blocks[0].attn, kwargs["hidden_states"], L, kwargs["image_rotary_emb"])
    assert heads.query.shape[2] == N and heads.text_key.shape[2] == L
    assert text_columns(heads, (slice(0, L),)).sum(dim=-1).allclose(torch.ones(()))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, [3, 4, 5, 6]),
        ({"map_depth": (0.0, 1.0)}, list(range(12))),
        ({"map_depth": (0.5, 0.5)}, [6]),
        ({"map_blocks": (7, 2, 7)}, [2, 7]),
    ],
    ids=["default", "all", "a point", "numbers"],
)
def test_which_blocks_are_read(told: dict[str, Any], expected: list[int]) -> None:
    assert chosen_blocks(12, TransformerOptions(**told)) == expected


def test_a_block_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadOption, match="12 blocks"):
        chosen_blocks(12, TransformerOptions(map_blocks=(12,)))
