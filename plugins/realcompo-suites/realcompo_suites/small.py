"""Small random models in the formats of the large ones, written to disk once: for the conformance kit and the tests. Their figures mean
nothing."""

from __future__ import annotations

from pathlib import Path

CLASSES = ("cat", "dog", "car", "apple")


def small_detector(folder: Path) -> Path:
    """A YOLOS of two layers that answers strongly to what it sees."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    if not (folder / "config.json").exists():
        config = YolosConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=[64, 64],
            patch_size=16,
            num_detection_tokens=6,
            id2label=dict(enumerate(CLASSES)),
            label2id={name: number for number, name in enumerate(CLASSES)},
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = YolosForObjectDetection(config)
            for name, parameter in network.named_parameters():
                if parameter.ndim > 1 or "token" in name:
                    torch.nn.init.normal_(parameter, std=0.3)
        network.save_pretrained(folder)
        YolosImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def small_clip(folder: Path) -> Path:
    """A CLIP of two layers a side, with a tokenizer of letters."""
    import torch
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from realcompo.testing.checkpoints import save_tokenizer

    if not (folder / "config.json").exists():
        save_tokenizer(folder)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        sides = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 16}
        text = {**sides, "vocab_size": len(tokenizer), "max_position_embeddings": 77, "eos_token_id": tokenizer.eos_token_id}
        config = CLIPConfig(
            text_config={**text, "bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id},
            vision_config={**sides, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = CLIPModel(config)
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.3)
        network.save_pretrained(folder)
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def small_head(path: Path) -> Path:
    """An aesthetic predictor of two layers on `small_clip`."""
    import torch
    from safetensors.torch import save_file

    path = path.with_suffix(".safetensors")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = torch.Generator().manual_seed(0)
        shapes = {"layers.0": (8, 16), "layers.2": (1, 8)}
        found = {f"{name}.weight": torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        save_file(found | {f"{name}.bias": torch.randn(shape[0], generator=draw) for name, shape in shapes.items()}, path)
    return path


def small_inception(path: Path) -> Path:
    """Random weights of torch-fidelity's Inception, which has one size only (95 MB)."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Random(FeatureExtractorInceptionV3):  # type: ignore[misc]
        """Keeps what it was initialised with."""

        def load_state_dict(self, *_: object, **__: object) -> None:
            return None

    path = path.with_suffix(".pth")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({}, path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Random("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
        torch.save(network.state_dict(), path)
    return path
