"""What is no checkpoint of Stable Diffusion is named for what it is, from its header alone: no tensor is read.

Names are those of published files of each kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from realcompo.errors import BadCheckpoint, RealCompoError
from realcompo.registry import Registry
from realcompo.toolkit.kinds import identify

D = "model.diffusion_model."
KINDS: dict[str, list[dict[str, tuple[int, ...]]]] = {
    "the refiner of SDXL": [
        {
            D + "input_blocks.0.0.weight": (384, 4, 3, 3),
            D + "label_emb.0.0.weight": (1536, 2560),
            "conditioner.embedders.0.model.ln_final.bias": (1280,),
        },
        {"conv_in.weight": (384, 4, 3, 3), "down_blocks.0.resnets.0.conv1.weight": (384,), "add_embedding.linear_1.weight": (1536, 2560)},
    ],
    "a checkpoint of Stable Diffusion 3": [
        {"joint_blocks.0.context_block.adaLN_modulation.1.bias": (1,)},
        {D + "joint_blocks.37.x_block.mlp.fc1.weight": (1,)},
    ],
    "a checkpoint of Flux": [{"double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, {D + "double_blocks.0.img_mlp.0.weight": (1,)}],
    "a checkpoint of FLUX.2": [{"double_blocks.0.img_mlp.0.weight": (1,), "single_stream_modulation.lin.weight": (1,)}],
    "a checkpoint of Chroma": [{"double_blocks.0.img_mlp.0.weight": (1,), "distilled_guidance_layer.in_proj.bias": (1,)}],
    "a VAE": [
        {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)},
        {"decoder.mid_block.resnets.0.conv1.weight": (1,), "decoder.conv_in.weight": (1,)},
    ],
    "a tiny autoencoder": [
        {"decoder.layers.0.weight": (64, 4, 3, 3)},
        {"taesd_decoder.1.weight": (64, 4, 3, 3)},
        {"0.weight": (64, 4, 3, 3), "encoder.3.conv.0.weight": (1,)},
    ],
    "a deep-compression autoencoder": [{"decoder.stages.1.op_list.0.main.conv.conv.bias": (1,)}],
    "a LoRA": [
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (1, 1)},
        {"unet.down_blocks.0.attentions.0.proj_in.lora_A.weight": (1, 1)},
        {"unet.up_blocks.0.attentions.0.processor.to_q_lora.down.weight": (1, 1)},
    ],
    "a LoHa": [{"lora_unet_x.hada_w1_a": (1, 1)}],
    "a LoKr": [{"lora_unet_x.lokr_w1": (1, 1)}],
    "a ControlNet-LLLite": [{"lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.conditioning1.0.weight": (1,)}],
    "a ControlNet": [{"control_model.zero_convs.0.0.weight": (1,)}, {"controlnet_cond_embedding.conv_in.weight": (1,)}],
    "a control-LoRA": [{"lora_controlnet": (0,), "input_blocks.1.0.in_layers.2.up": (1, 1)}],
    "a ControlNet of a transformer": [{"controlnet_blocks.0.weight": (1,), "transformer_blocks.0.norm1.linear.weight": (1,)}],
    "a T2I-Adapter": [
        {"adapter.body.0.resnets.0.block1.weight": (1,)},
        {"body.0.block1.weight": (1,)},
        {"body.0.body.0.block1.weight": (1,)},
    ],
    "a T2I-Adapter for style": [{"style_embedding": (1, 8, 1024), "transformer_layes.0.attn.in_proj_weight": (1,)}],
    "an IP-Adapter": [{"ip_adapter.1.to_k_ip.weight": (1,), "image_proj.proj.weight": (1,)}],
    "a FaceID IP-Adapter": [{"ip_adapter.1.to_k_ip.weight": (1,), "image_proj.latents": (1,)}],
    "an AnimateDiff motion module": [{"down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": (320,)}],
    "a textual inversion embedding": [{"emb_params": (2, 768)}, {"clip_l": (2, 768), "clip_g": (2, 1280)}, {"<cat-toy>": (768,)}],
    "a hypernetwork": [{"320.0.linear.0.weight": (1,), "768.1.linear.0.weight": (1,)}],
    "an upscaler": [
        {"model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)},
        {"body.0.rdb1.conv1.weight": (32, 64, 3, 3), "conv_first.weight": (64, 3, 3, 3)},
        {"params_ema.conv_first.weight": (64, 3, 3, 3)},
        {"layers.0.residual_group.blocks.0.norm1.weight": (1,)},
    ],
    "a face restorer": [{"stylegan_decoder.style_mlp.1.weight": (1,)}],
    "a text encoder (CLIP)": [{"text_model.embeddings.token_embedding.weight": (49408, 768), "text_model.final_layer_norm.bias": (768,)}],
    "a text encoder (T5)": [{"encoder.block.0.layer.0.SelfAttention.q.weight": (1,)}],
    "an image encoder (CLIP Vision)": [{"vision_model.embeddings.class_embedding": (1,)}, {"visual.conv1.weight": (1,)}],
    "a Stable Cascade, stage C": [{"clip_txt_mapper.weight": (2048, 1280)}],
    "a Stable Cascade, stage B": [{"down_blocks.1.0.channelwise.0.weight": (1, 640)}],
    "a checkpoint of AuraFlow": [{"double_layers.0.attn.w1q.weight": (1,), "cond_seq_linear.weight": (1,)}],
    "a checkpoint of Wan": [{"head.modulation": (1, 2, 1536), "patch_embedding.weight": (1,)}],
    "a VAE of Wan": [{"decoder.middle.0.residual.0.gamma": (1,)}],
    "a checkpoint of LTX-Video": [{D + "patchify_proj.weight": (1,)}],
    "a checkpoint of Mochi": [{"blocks.0.attn.qkv_x.weight": (1,)}],
    "a checkpoint of Hunyuan Video": [
        {"txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias": (1,), "double_blocks.0.img_mod.linear.weight": (1,)}
    ],
    "a checkpoint of HiDream": [{"double_stream_blocks.0.block.adaLN_modulation.1.bias": (1,)}],
    "a checkpoint of Qwen-Image": [{"transformer_blocks.0.img_mod.1.weight": (1,)}],
    "a checkpoint of Z-Image": [{"layers.0.adaLN_modulation.0.weight": (1,), "cap_embedder.0.weight": (1,)}],
    "a checkpoint of Lumina 2": [{"layers.0.attention.qkv.weight": (1,), "cap_embedder.0.weight": (1,)}],
    "a checkpoint of Stable Video Diffusion": [{D + "input_blocks.1.0.time_stack.in_layers.0.weight": (1,)}],
    "a checkpoint of Playground 2.5": [{"edm_mean": (1, 4, 1, 1)}],
    "a checkpoint of CosXL": [{"edm_vpred.sigma_max": (), D + "input_blocks.0.0.weight": (320, 4, 3, 3)}],
}


@pytest.mark.parametrize("what", KINDS)
def test_named_from_names_and_shapes(what: str) -> None:
    for shapes in KINDS[what]:
        found = identify(shapes)
        assert what in found.what and found.family is None, (found.what, shapes)


def test_refused_as_what_it_is_before_a_tensor_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a person puts it: as a source of three branches, and as an option. What is refused is named; nothing is a traceback."""
    monkeypatch.setattr("realcompo.toolkit.tensor_files.TensorFile.read", lambda *_: pytest.fail("it read weights"))
    takers = {"sd/v1-5": (), "gligen/box": (), "controlnet/pose-sd15": ("a ControlNet", "a control-LoRA", "a T2I-Adapter")}
    for what, files in KINDS.items():
        file = tmp_path / "file.safetensors"
        tensors: dict[str, Any] = {name: torch.zeros(shape if len(shape) < 4 else (2, shape[1], 1, 1)) for name, shape in files[0].items()}
        save_file({name: x if x.numel() < 10**5 else x[:1, :1].clone() for name, x in tensors.items()}, str(file))
        for id, taken in takers.items():
            if what in taken:
                continue
            with pytest.raises(RealCompoError) as error:
                Registry().inspect(id, {}, str(file))
            if what != "the refiner of SDXL":  # its shapes are too wide to write here
                assert isinstance(error.value, BadCheckpoint) and what in str(error.value), (id, what, str(error.value))
