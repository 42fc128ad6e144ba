"""The transformer from a file of its own: safetensors, fp8, GGUF; each draws what the folder draws, as far as its numbers allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realcompo.compose.composer import Composer
from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint, BadOption
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPT = "a photo of a cat and a dog"
PETS = Boxes({"a cat": (0.0, 0.0, 0.5, 1.0), "a dog": (0.5, 0.0, 1.0, 1.0)})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(next((folder / "transformer").glob("*.safetensors"))))


def drawn(checkpoint: Any, **options: Any) -> torch.Tensor:
    one = Registry().branch("flux/dev", options, source=str(checkpoint("flux")))
    noise = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    return draw_alone(one, request((PROMPT,), guidance_scale=3.5), noise, steps=4)


@pytest.fixture(scope="module")
def gguf_file(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight bits where a row has whole blocks of 32, else as it is."""
    import gguf

    file = tmp_path_factory.mktemp("gguf") / "flux-Q8_0.gguf"
    writer = gguf.GGUFWriter(str(file), "flux")
    for name, tensor in weights(checkpoint("flux")).items():
        numbers = tensor.float().numpy()
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_safetensors_file_is_the_folder(checkpoint: Any, tmp_path: Path) -> None:
    save_file(weights(checkpoint("flux")), str(tmp_path / "flux.safetensors"))
    assert torch.equal(drawn(checkpoint), drawn(checkpoint, network=str(tmp_path / "flux.safetensors")))


def test_fp8_is_widened(checkpoint: Any, tmp_path: Path) -> None:
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in weights(checkpoint("flux")).items()}
    save_file(small, str(tmp_path / "flux-fp8.safetensors"))
    one = drawn(checkpoint, network=str(tmp_path / "flux-fp8.safetensors"))
    assert 1e-4 < relative(drawn(checkpoint), one) < 0.3


@pytest.mark.deep
def test_gguf_draws_and_has_a_gradient(checkpoint: Any, gguf_file: Path) -> None:
    """Quantised in memory, close to what it was made of, and balanced with moves and probes."""
    plain, small = drawn(checkpoint), drawn(checkpoint, network=str(gguf_file))
    print(f"GGUF: {relative(plain, small):.3f} from float32")
    assert 1e-5 < relative(plain, small) < 0.1
    told = {"name": "flux/dev", "source": str(checkpoint("flux")), "options": {"network": str(gguf_file)}}
    partner = {"name": "regional/any", "source": str(checkpoint("flux")), "options": {"base": "flux/dev", "base_options": {}}}
    composer = Composer(told, partner, balancer="core/balance", balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu")
    result = composer(PROMPT, PETS, seed=1)
    quantised = [p for p in composer.branches[0].transformer.parameters() if hasattr(p, "quant_type")]  # type: ignore[attr-defined]
    assert quantised and bool(result.latents.isfinite().all())
    assert all(float(entry.loss.sum()) > 0 for entry in result.trace.entries)
    assert "transformer" in composer.branches[0].fingerprint()


def test_what_is_refused_before_weights(checkpoint: Any, gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inspect(id: str = "flux/dev", family: str = "flux", **options: Any) -> None:
        Registry().inspect(id, options, str(checkpoint(family)))

    inspect(network=str(gguf_file))
    with pytest.raises(BadCheckpoint, match="no such file"):
        inspect(network=str(tmp_path / "none.gguf"))
    with pytest.raises(BadCheckpoint, match="reads no PixArtTransformer2DModel"):
        inspect("pixart/alpha", "pixart", network=str(gguf_file))
    (tmp_path / "text.safetensors").write_text("no tensors", encoding="utf-8")
    with pytest.raises(BadCheckpoint):
        inspect(network=str(tmp_path / "text.safetensors"))
    with pytest.raises(BadOption, match="set it in the option base_options"):
        inspect("flux/pose", "controlnet-flux", network=str(gguf_file))
    monkeypatch.setenv("DIFFUSERS_GGUF_CUDA_KERNELS", "true")
    with pytest.raises(BadOption, match="no gradient"):
        inspect(network=str(gguf_file))


def test_another_architectures_file(checkpoint: Any, tmp_path: Path) -> None:
    save_file(weights(checkpoint("sd3")), str(tmp_path / "sd3.safetensors"))
    with pytest.raises(BadCheckpoint, match=r"FluxTransformer2DModel|missing"):
        drawn(checkpoint, network=str(tmp_path / "sd3.safetensors"))
