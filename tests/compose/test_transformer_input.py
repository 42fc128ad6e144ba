"""What cannot be drawn with a transformer is refused before a weight is loaded, and says what to do. (Latents, guidance and sizes:
tests/recipes/test_pair_recipes.py; LoRAs of another architecture: realcompo-flux.)"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from torch import nn

from realcompo.compose.composer import Composer
from realcompo.conditions import Boxes
from realcompo.conditions.hint import SAMPLE
from realcompo.errors import BadCheckpoint, BadCondition, BadOption, Incompatible
from realcompo.recipes.recipe import PictureEntry
from realcompo.registry import Registry

LONG = "a photo of a cat and a dog on the grass " * 14
PETS = Boxes({"a cat": (0.0, 0.0, 0.5, 1.0)})


@pytest.fixture
def changed(checkpoint: Any, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a family's checkpoint with other settings in the config of a part; None takes one out."""

    def copied(family: str, part: str, **settings: Any) -> Path:
        folder = tmp_path / family
        shutil.copytree(checkpoint(family), folder)
        file = folder / part / "config.json"
        config = json.loads(file.read_text(encoding="utf-8")) | settings
        file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}), encoding="utf-8")
        return folder

    return copied


def inspected(id: str, source: Path, **options: Any) -> Any:
    """Traits, with no network built."""
    with mock.patch.object(nn.Module, "__init__", autospec=True, side_effect=AssertionError("a network is built")):
        return Registry().inspect(id, options, str(source))


@pytest.mark.parametrize(
    ("family", "id", "limit"),
    [("pixart", "pixart/alpha", 120), ("pixart-sigma", "pixart/sigma", 300)],
    ids=["alpha", "sigma"],
)
def test_a_prompt_past_t5s_length(checkpoint: Any, family: str, id: str, limit: int) -> None:
    composer = Composer({"name": id, "source": str(checkpoint(family))}, num_inference_steps=2, device="cpu")
    too_long = LONG * 4 if limit == 300 else LONG
    for given in ({"prompt": too_long}, {"prompt": "a cat", "negative_prompt": too_long}):
        with pytest.raises(BadOption, match="longer than the tokens") as caught:
            composer(**given)
        assert "text_length" in str(caught.value) and composer._branches is None, "weights were loaded first"
    longer = Composer({"name": id, "source": str(checkpoint(family)), "options": {"text_length": 700}}, num_inference_steps=2, device="cpu")
    assert longer(LONG, seed=0).image is not None


@pytest.mark.parametrize(
    ("family", "id", "settings", "said"),
    [
        ("pixart", "pixart/alpha", {"linear_attention": True}, "sets linear_attention = True"),
        ("sd3", "sd3/medium", {"qk_norm": "layer_norm"}, "norm 'layer_norm'"),
        ("flux", "flux/dev", {"in_channels": 384, "out_channels": 64}, "it is told a picture"),
        ("z-image", "z-image/base", {"cap_feat_dim": 99}, "its text_encoder is 24 wide, its transformer expects 99"),
        ("pixart", "pixart/alpha", {"_class_name": "SanaTransformer2DModel"}, "is a SanaTransformer2DModel, not a PixArt"),
    ],
    ids=["unknown setting", "another norm", "fills", "text of another width", "another class"],
)
def test_a_transformer_that_the_plugin_does_not_know(
    changed: Callable[..., Path], family: str, id: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadCheckpoint, match=said) as caught:
        inspected(id, changed(family, "transformer", **settings))
    assert caught.value.mend


def test_a_checkpoint_of_another_kind(checkpoint: Any) -> None:
    """Each is named, whichever way round."""
    with pytest.raises(BadCheckpoint, match="it is a UNet, not a PixArtTransformer2DModel"):
        inspected("pixart/alpha", checkpoint("sd1"))
    with pytest.raises(BadCheckpoint, match="it is a transformer, not a Stable Diffusion UNet"):
        inspected("sd/v1-5", checkpoint("pixart"))
    with pytest.raises(BadCheckpoint, match="is a FluxTransformer2DModel, not a SD3Transformer2DModel"):
        inspected("sd3/medium", checkpoint("flux"))


def test_latents_of_one_shape_are_two_spaces(checkpoint: Any) -> None:
    """SD 3's and FLUX.1's, told apart by their factors; those of Z-Image and FLUX.1 are one."""
    spaces = {family: inspected(id, checkpoint(family)).latent for family, id in (("sd3", "sd3/medium"), ("flux", "flux/dev"))}
    assert (spaces["sd3"].name, spaces["flux"].name) == ("sd3", "flux") and spaces["sd3"] != spaces["flux"]
    assert inspected("z-image/base", checkpoint("z-image")).latent == spaces["flux"]
    assert inspected("pixart/alpha", checkpoint("pixart")).latent == inspected("sd/v1-5", checkpoint("sd1")).latent
    assert inspected("pixart/sigma", checkpoint("pixart-sigma")).latent == inspected("sd/xl-base", checkpoint("sdxl")).latent


@pytest.mark.parametrize(
    ("family", "id", "settings", "said"),
    [
        ("controlnet-sd3", "sd3/pose", {"num_layers": 9}, "has 9 blocks, its base .* 4"),
        ("controlnet-sd3", "sd3/pose", {"num_attention_heads": 4}, "4×8 wide"),
        ("controlnet-flux", "flux/pose", {"num_single_layers": 5}, "has 5 single blocks, its base .* 2"),
        ("controlnet-sd3", "sd3/pose", {"extra_conditioning_channels": 1}, "it inpaints"),
        ("controlnet-sd3", "sd3/pose", {"_class_name": "ControlNetModel"}, "not a SD3ControlNetModel"),
    ],
    ids=["deeper than its base", "wider", "more single blocks", "inpaints", "a UNet's"],
)
def test_a_controlnet_that_does_not_fit(changed: Callable[..., Path], family: str, id: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises((Incompatible, BadCheckpoint), match=said) as caught:
        inspected(id, changed(family, "controlnet", **settings))
    assert caught.value.mend


def test_a_block_that_is_not_there(checkpoint: Any) -> None:
    with pytest.raises(BadOption, match="has 4 blocks"):
        inspected("pixart/alpha", checkpoint("pixart"), map_blocks=(4,))


def test_a_hint_that_the_branch_does_not_know(checkpoint: Any) -> None:
    """Stated by the branch, checked before weights; and a picture of another shape."""
    fidelity = {"name": "sd/v1-5", "source": str(checkpoint("controlnet-sd1"))}
    canny = {"name": "controlnet/canny-sd15", "source": str(checkpoint("controlnet-sd1"))}
    composer = Composer(fidelity, canny, num_inference_steps=2, device="cpu")
    from realcompo.conditions import Hint

    with pytest.raises(BadCondition, match="knows hints of canny, not of depth"):
        composer("a cat and a house", Hint({**SAMPLE, "of": "depth"}))
    with pytest.raises(BadCondition, match="the hint is 64×64"):
        composer("a cat and a house", Hint(SAMPLE), height=128, width=256)
    assert composer._branches is None
    drawn = composer("a cat and a house", Hint(SAMPLE), seed=0)
    without = composer("a cat and a house", Hint({**SAMPLE, "items": []}), seed=0)
    assert [region.phrase for region in drawn.regions] == ["a cat", "a house"] and not without.regions


@pytest.mark.parametrize(
    ("family", "id", "entry", "read"),
    [
        ("flux-schnell", "flux/schnell", {}, False),
        ("z-image", "z-image/turbo", {}, False),
        ("flux", "flux/dev", {}, False),
        ("flux", "flux/dev", {"options": {"true_cfg_scale": 2.0}}, True),
        ("sd3", "sd3/medium", {}, True),
        ("sd3", "sd3/medium", {"guidance_scale": 1.0}, False),
    ],
    ids=["schnell", "turbo", "dev", "dev of two passes", "guided", "unguided"],
)
def test_a_negative_prompt_that_nobody_reads_is_told(checkpoint: Any, family: str, id: str, entry: dict[str, Any], read: bool) -> None:
    """It would be dropped in silence; a picture without one has nothing to be told, and who reads it is not named."""
    composer = Composer({"name": id, "source": str(checkpoint(family)), **entry}, num_inference_steps=20, device="cpu")

    def told(negative: str) -> list[str]:
        found = composer.remarks([PictureEntry(prompt="a cat", negative_prompt=negative, seed=0)])
        return [remark for remark in found if "negative prompt does nothing" in remark]

    assert len(told("a dog")) == (0 if read else 1) and told("") == []
    own = Composer(
        {"name": id, "source": str(checkpoint(family)), **entry, "negative_prompt": "a dog"}, num_inference_steps=20, device="cpu"
    )
    mine = [remark for remark in own.remarks([PictureEntry(prompt="a cat", seed=0)]) if "negative prompt does nothing" in remark]
    assert [remark.partition(":")[0] for remark in mine] == ([] if read else [id])


def test_a_negative_prompt_that_one_of_a_pair_reads_is_heard(checkpoint: Any) -> None:
    """The picture's own is not lost then; one that is told to the deaf branch alone is."""
    deaf, heard = (
        {"name": "z-image/turbo", "source": str(checkpoint("z-image"))},
        {"name": "regional/any", "options": {"base": "z-image/base"}},
    )
    picture = PictureEntry(prompt="a cat", negative_prompt="a dog", seed=0)
    for entry, names in ((deaf, []), ({**deaf, "negative_prompt": "two apples"}, ["z-image/turbo"])):
        spatial = {**heard, "source": str(checkpoint("z-image"))}
        composer = Composer(entry, spatial, num_inference_steps=20, device="cpu")
        found = [remark.partition(":")[0] for remark in composer.remarks([picture]) if "negative prompt does nothing" in remark]
        assert found == names


@pytest.mark.parametrize(
    ("id", "base", "family"),
    [("regional/any", "z-image/turbo", "z-image"), ("layguide/any", "flux/schnell", "flux-schnell")],
    ids=["turbo", "schnell"],
)
def test_what_is_put_upon_a_distilled_base_asks_for_no_guidance(checkpoint: Any, id: str, base: str, family: str) -> None:
    """What its plugin recommends is for other bases; asked for by the user, it is refused. Upon a base that knows guidance it stays."""
    source = str(checkpoint(family))

    def spatial(base: str, **more: Any) -> Any:
        both = {"name": id, "source": source, "options": {"base": base}, **more}
        return Composer({"name": base, "source": source}, both, num_inference_steps=4, device="cpu").members[1]

    assert spatial(base).guidance_scale == 1
    with pytest.raises(BadOption, match="is distilled"):
        spatial(base, guidance_scale=4.0)
    other = {"z-image": "z-image/base", "flux-schnell": "sd/xl-base"}[family]
    source = str(checkpoint({"z-image": "z-image", "flux-schnell": "sdxl"}[family]))
    assert spatial(other).guidance_scale > 1
