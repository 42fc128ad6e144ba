"""Checkpoints of strangers: headers of safetensors files, tables of keys, configs, adapters. No weights are read; the networks that tables
are held against are small and empty, and made once."""

from __future__ import annotations

import copy
import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from realcompo.errors import RealCompoError
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing.checkpoints import save_checkpoint
from realcompo.testing.originals import save_original
from realcompo.toolkit import UNetBranch, UNetOptions, conversion
from realcompo.toolkit.configs import published
from realcompo.toolkit.kinds import identify
from realcompo.toolkit.loading import CLASSES, class_name
from realcompo.toolkit.lora import check_lora
from realcompo.toolkit.loras import Loras as Adapters
from realcompo.toolkit.single_file import SingleFile, open_single_file
from realcompo.toolkit.sources import open_checkpoint, weight_files
from realcompo.toolkit.tensor_files import TensorFile, open_tensors

from .mutations import Mutator, json_text

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
FAMILIES = ("sd1", "sd2", "sdxl", "gligen")
ORIGINAL = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}


class Headers:
    """The head of a safetensors file: its length, its JSON, offsets and types; a few bytes follow it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "headers"
        (self.folder / "unet").mkdir(parents=True, exist_ok=True)
        self.heads: list[dict[str, Any]] = []
        for names in (("model.diffusion_model.input_blocks.0.0.weight", "b.weight"), ("lora_unet_x.lora_up.weight", "lora_unet_x.alpha")):
            head: dict[str, Any] = {"__metadata__": {"format": "pt", "modelspec.prediction_type": "v"}}
            for number, name in enumerate(names):
                head[name] = {"dtype": "F32", "shape": [1, 4, 1, 1], "data_offsets": [16 * number, 16 * number + 16]}
            self.heads.append(head)

    def make(self, mutator: Mutator) -> tuple[bytes, str]:
        head = mutator.random.choice(self.heads)
        text = json_text(mutator.data(head, self.heads), mutator)
        text = mutator.words(text, ('"dtype":"F99"', '"__metadata__":{}', "{}")) if mutator.random.random() < 0.3 else text
        body = text.encode(errors="surrogatepass")
        length = len(body) if mutator.random.random() < 0.85 else mutator.random.choice((0, 1, len(body) + 1, 2**31, 2**63, 2**64 - 1))
        whole = struct.pack("<Q", length) + body + bytes(32)
        whole = mutator.bytes(whole) if mutator.random.random() < 0.3 else whole
        return whole, mutator.random.choice((".safetensors", ".safetensors", ".safetensors", ".ckpt", ".bin", ".SAFETENSORS", ""))

    def feed(self, sample: tuple[bytes, str]) -> None:
        body, suffix = sample
        path = self.folder / f"model{suffix}"
        path.write_bytes(body)
        (self.folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(body)
        tried = [
            lambda: check_lora(str(path)),
            lambda: weight_files(self.folder / "unet", UNetOptions()),
            lambda: UNetBranch.inspect(SPEC, UNetOptions(), path),
            lambda: UNetBranch.inspect(SPEC, UNetOptions(allow_pickle=True), path),
            lambda: open_tensors(path).read(open_tensors(path).shapes),
            lambda: use_single(open_single_file(path, UNetOptions())),
        ]
        run_all(tried)


def run_all(tried: list[Any]) -> None:
    """Each of these; at the end the last refusal, if one refused."""
    refused: RealCompoError | None = None
    for one in tried:
        try:
            one()
        except RealCompoError as error:
            refused = error
    if refused is not None:
        raise refused


def use_single(single: SingleFile) -> None:
    """All that is asked of a single file before its weights are read."""
    single.describe()
    parts = [*CLASSES, "scheduler"]
    run_all([lambda part=part: single.config(part) for part in parts if single.has(part)])
    single.refuse()


@cache
def empty(config: str, library: str, name: str) -> Any:
    """A network without numbers, kept."""
    return _empty_network(json.loads(config), library, name)


_empty_network = conversion.empty_network


class Keys:
    """Tables of names and shapes of single files: keys that are gone, doubled, prefixed, of other shapes; held against small networks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "keys"
        conversion.empty_network = lambda config, library, name: empty(json.dumps(config, sort_keys=True), library, name)
        self.files: list[tuple[Path, Path, TensorFile]] = []
        for family in FAMILIES:
            made = save_checkpoint(self.folder / family, family)  # type: ignore[arg-type]
            single = save_original(made, self.folder / f"{family}.safetensors")
            self.files.append((made, single, open_tensors(single)))
        self.shapes = [dict(ORIGINAL), *(dict(file.shapes) for _, _, file in self.files)]

    def make(self, mutator: Mutator) -> tuple[int, dict[str, tuple[int, ...]], dict[str, str]]:
        which = mutator.random.randrange(len(self.files))
        random, shapes = mutator.random, dict(self.shapes[which + 1])
        if random.random() < 0.1:
            shapes = dict(ORIGINAL)
        for _ in range(random.choice((1, 1, 2, 6))):
            names = list(shapes)
            if not names:
                break
            name = (
                random.choice([one for one in names if one in ORIGINAL or "embedding" in one] or names)
                if random.random() < 0.3
                else random.choice(names)
            )
            kind = random.randrange(9)
            if kind == 0:
                del shapes[name]
            elif kind == 1:
                stem = name.rpartition(".")[0][: random.randrange(1, 60)]
                shapes = {key: shape for key, shape in shapes.items() if not key.startswith(stem)}
            elif kind == 2:
                prefix = random.choice(
                    ("model.", "module.", "state_dict.", "_orig_mod.", "ema.", "x" * 300 + ".", ".", "model.diffusion_model.")
                )
                shapes = {f"{prefix}{key}" if random.random() < 0.9 else key: shape for key, shape in shapes.items()}
            elif kind == 3:
                shapes[mutator.text(name)] = shapes[name]
            elif kind == 4:
                shapes[name] = random.choice(
                    ((), (0,), (1,), (4,), shapes[name][::-1], (*shapes[name], 1), shapes[name][:-1], (2**40, 2**40))
                )
            elif kind == 5:
                shapes.update({key: shape for key, shape in random.choice(self.shapes).items() if random.random() < 0.5})
            elif kind == 6:
                shapes[name.replace(random.choice((".", "0", "blocks", "attn")), random.choice(("", "..", "99", "é")))] = shapes.pop(name)
            elif kind == 7:
                shapes[
                    random.choice(
                        ("v_pred", "ztsnr", "edm_mean", "emb_params", "ip_adapter.x", "lora_up", "model.diffusion_model.input_blocks.")
                    )
                ] = (1,)
            else:
                shapes = {
                    key.removeprefix("model.diffusion_model.").removeprefix("cond_stage_model."): shape for key, shape in shapes.items()
                }
        return which, shapes, random.choice(({}, {"modelspec.prediction_type": "v"}, {"modelspec.prediction_type": "\ud800"}))

    def feed(self, sample: tuple[int, dict[str, tuple[int, ...]], dict[str, str]]) -> None:
        which, shapes, metadata = sample
        folder, _, file = self.files[which]
        changed: Any = replace(file, shapes=shapes, metadata=metadata)
        for config in (None, folder):
            single = SingleFile(changed, identify(shapes), config, None)
            use = [lambda one=single: use_single(one)]
            use += [lambda one=single, part=part: self._compare(one, part) for part in CLASSES if single.has(part) and config is not None]
            run_all(use)

    def _compare(self, single: SingleFile, part: str) -> None:
        """Up to where tensors would be read."""
        single.refuse()
        config = single.config(part)
        library, allowed = CLASSES[part]
        name = class_name(config)
        if name in allowed:
            conversion.load_part(replace(single, file=Unread(single.file)), part, library, name, None)  # type: ignore[arg-type]


class Unread(TensorFile):
    """A file whose tensors nobody reads."""

    def __init__(self, file: TensorFile) -> None:
        super().__init__(file.path, file.shapes, file.metadata)

    def read(self, names: Any) -> dict[str, Any]:
        from realcompo.errors import BadCheckpoint

        raise BadCheckpoint("all names and shapes are right", where=self.where, mend="nothing")


class Configs:
    """The JSON files of a folder in diffusers' layout, and published configs in their place."""

    def __init__(self, folder: Path) -> None:
        self.folders = []
        for family in ("sd1", "sdxl", "gligen", "controlnet-sd1"):
            made = save_checkpoint(folder / "configs" / family, family)  # type: ignore[arg-type]
            self.folders.append((made, sorted(path for path in made.rglob("*.json") if path.name not in ("vocab.json",)), {}))
        for _, files, kept in self.folders:
            kept.update({path: path.read_bytes() for path in files})
        self.ids = [id for id in ("sd/v1-5", "sdxl/base", "gligen/box", "controlnet/pose") if id in installed().branches]
        self.others = [published(family) for family in ("sd1", "sd2", "sdxl")]

    def make(self, mutator: Mutator) -> tuple[int, Path, bytes]:
        which = mutator.random.randrange(len(self.folders))
        _, files, kept = self.folders[which]
        path = mutator.random.choice([file for file in files if "config" in file.name or "index" in file.name])
        others = [*self.others[0].values(), *self.others[2].values()]
        text = json_text(mutator.data(json.loads(kept[path]), others), mutator)
        text = mutator.words(text) if mutator.random.random() < 0.2 else text
        body = text.encode(errors="surrogatepass")
        return which, path, mutator.bytes(body) if mutator.random.random() < 0.1 else body

    def feed(self, sample: tuple[int, Path, bytes]) -> None:
        which, path, body = sample
        made, _, kept = self.folders[which]
        path.write_bytes(body)
        try:
            checkpoint = open_checkpoint(made, UNetOptions())
            use: list[Any] = [checkpoint.describe, lambda: checkpoint.setting("force_zeros_for_empty_prompt")]
            registry = installed()
            use += [lambda id=id: registry.inspect(id, {}, str(made)) for id in self.ids]
            run_all(use)
        finally:
            path.write_bytes(kept[path])


class Loras:
    """Adapters in the layouts that are about, put on a small network."""

    def __init__(self, folder: Path) -> None:
        from realcompo.toolkit import Loader

        self.folder = folder / "loras"
        made = save_checkpoint(self.folder / "sd1", "sd1")
        loader = Loader(open_checkpoint(made, UNetOptions()), UNetOptions(), share=False)
        self.networks: Mapping[str, Any] = {"unet": loader.module("unet"), "text_encoder": loader.module("text_encoder")}
        unet = self.networks["unet"]
        names = [name for name, module in unet.named_modules() if name.endswith("attn2.to_k")]
        widths = {name: unet.get_submodule(name).weight.shape for name in names}
        self.tables = [
            {
                f"unet.{name}.lora_{side}.weight": (2, shape[1]) if side == "A" else (shape[0], 2)
                for name, shape in widths.items()
                for side in "AB"
            },
            {
                f"lora_unet_{name.replace('.', '_')}.lora_{side}.weight": (2, shape[1]) if side == "down" else (shape[0], 2)
                for name, shape in widths.items()
                for side in ("down", "up")
            },
        ]

    def make(self, mutator: Mutator) -> dict[str, tuple[int, ...]]:
        random, table = mutator.random, dict(mutator.random.choice(self.tables))
        for _ in range(random.choice((0, 1, 2, 4))):
            name = random.choice(list(table))
            kind = random.randrange(4)
            if kind == 0 and len(table) > 1:
                del table[name]
            elif kind == 1:
                table[mutator.text(name) or "x"] = table[name]
            elif kind == 2:
                table[name] = random.choice(((1,), (2, 2), (0,), (3, 1, 1, 1), ()))
            else:
                table = {
                    f"{random.choice(('', '', 'x.', 'diffusion_model.', 'text_encoder.'))}{key}": shape for key, shape in table.items()
                }
        return table

    def feed(self, sample: dict[str, tuple[int, ...]]) -> None:
        import torch
        from safetensors.torch import save_file

        path = self.folder / "lora.safetensors"
        try:
            save_file({name: torch.zeros(shape) for name, shape in sample.items()}, str(path))
        except UnicodeEncodeError:  # no file can hold such a name
            return
        shutil.copy(path, self.folder / "copy.safetensors")
        Adapters(copy.deepcopy(dict(self.networks))).put([(path, 1.0)])
