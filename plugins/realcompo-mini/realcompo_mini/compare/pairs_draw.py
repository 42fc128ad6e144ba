"""Draw and judge pairs on scenes that every condition can be told of; and the attention of TokenCompose against its base."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from realcompo_mini.compare.draw import read
from realcompo_mini.compare.judge import judge, wanted
from realcompo_mini.compare.pair import Pair
from realcompo_mini.reader import joint_error, mean_iou, pixel_truth, read_pictures
from realcompo_mini.scorer import detect
from realcompo_mini.suite import boxes, picture_seed
from realcompo_mini.train.hints import segmentation
from realcompo_mini.train.poses import people, pose
from realcompo_mini.train.render import render, render_masks
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.train.sprites import load

OBJECTS, SHOWN = (2, 3), 2  # objects a scene; pictures a pair on the contact sheet
TIMES = (0.7, 0.5, 0.3)  # shares of the schedule at which attention is measured
ATTENTION = ("mini/fidelity", "mini/tokencompose")


def scenes(split: str, count: int, seed: int = 0) -> list[Scene]:
    """The first scenes of a split that hold exactly one person and one or two other things: each kind of condition can be told of them."""
    found: list[Scene] = []
    index = 0
    while len(found) < count:
        scene = sample_scene(split, index, seed, counts=OBJECTS, kind="person")
        if sum(o.kind == "person" for o in scene.objects) == 1:
            found.append(scene)
        index += 1
    return found


def condition(spatial: str, scene: Scene, shown: Scene, sprites: dict[str, np.ndarray[Any, Any]]) -> Any:
    """What a spatial branch is told of a scene; of the places in `shown`, which is another scene in a control.

    The words stay the scene's own: another scene's boxes, joints or segments are given to its objects in turn.
    """
    if spatial == "mini/pose":
        return _worded(pose(shown), [o for o in scene.objects if o.kind == "person"])
    if spatial == "mini/segmentation":
        told = segmentation(shown, render_masks(shown, "3d", sprites))
        return told if shown is scene else _worded(told, scene.objects)
    if shown is scene:
        return boxes(scene.objects)
    places = [shown.objects[k % len(shown.objects)].box for k in range(len(scene.objects))]
    import realcompo as rc

    return rc.Boxes([{"phrase": o.phrase, "box": box, "span": o.span} for o, box in zip(scene.objects, places, strict=True)])


def _worded(told: Any, objects: Sequence[Any]) -> Any:
    """A condition whose items carry the words of other objects, as far as there are any."""
    items = [item.model_copy(update={"phrase": o.phrase, "span": o.span, "id": ""}) for item, o in zip(told.items, objects, strict=False)]
    return type(told)(items=items, **{name: getattr(told, name) for name in ("size", "backdrop") if hasattr(told, name)})


def file_of(out: Path, split: str, pair: Pair) -> Path:
    """Where a pair's records are."""
    return out / f"pairs-{split}-{pair.slug}.jsonl"


def attention_file(out: Path, split: str) -> Path:
    """Where the records of attention are."""
    return out / f"attention-{split}.jsonl"


def picture_of(out: Path, split: str, pair: Pair, scene: int) -> Path:
    """Where a picture for the contact sheet is."""
    return out / "pictures" / f"{split}-{pair.slug}-{scene}.png"


def draw_pair(pair: Pair, split: str, count: int, sprites: Path, out: Path, batch: int = 10, composer: Any = None, **where: Any) -> None:
    """Append the missing records of a pair to its file (JSON lines).

    Args:
        composer: in place of the pair's own.
    """
    path, library = file_of(out, split, pair), load(sprites)
    done = {record["scene"] for record in read(path)}
    jobs = [k for k in range(count) if k not in done]
    if not jobs:
        return
    everything, composer = scenes(split, count + 1), composer or pair.composer(**where)
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    with path.open("a") as file, tqdm(total=len(jobs), desc=pair.name, unit="picture") as bar:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            picked = [everything[k] for k in part]
            shown = [everything[k + 1] if pair.control == "shuffled" else everything[k] for k in part]
            told = [condition(pair.spatial, s, o, library) for s, o in zip(picked, shown, strict=True)] if pair.spatial else None
            result = composer([s.caption for s in picked], told, seed=[picture_seed(k, 0) for k in part])
            for k, image, row in zip(part, result.images, judged(pair, picked, result.images, library), strict=True):
                trace = {"predictions": result.trace.predict_calls, "probes": result.trace.probe_calls}
                file.write(json.dumps({"row": pair.name, "split": split, "scene": k, "seed": 0, **row, **trace}) + "\n")
                if k < SHOWN:
                    image.save(picture_of(out, split, pair, k))
            file.flush()
            bar.update(len(part))


def judged(pair: Pair, asked: Sequence[Scene], images: Sequence[Any], sprites: dict[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    """What each picture holds of its scene: of objects by the detector, of look, joints and pixels by the reader."""
    reading = read_pictures(list(images))
    rows = []
    for scene, found, look, joints, classes in zip(
        asked, detect(list(images)), reading.names, reading.joints.numpy(), reading.classes.numpy(), strict=True
    ):
        (person,) = people(scene, "3d").values()
        truth = pixel_truth([o.kind for o in scene.objects], render_masks(scene, "3d", sprites))
        rows.append(
            {
                **judge(wanted(scene), found),
                "look": look,
                "look_right": int(look == pair.look),
                "joint_error": joint_error(joints, person),
                "iou": mean_iou(classes, truth),
            }
        )
    return rows


def seen_regions(scene: Scene, masks: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """What is seen of each phrase of a rendered scene as a region: objects of the same words ("two apples") are one; (N, S, S) bool."""
    from realcompo.interfaces import Region

    unions = {span: masks[[o.span == span for o in scene.objects]].any(0) for span in dict.fromkeys(o.span for o in scene.objects)}
    seen = {span: mask.astype(np.float32) for span, mask in unions.items() if mask.any()}
    return tuple(Region(f"{span}", scene.caption[slice(*span)], mask=mask, span=span) for span, mask in seen.items())


@torch.no_grad()
def measure_attention(out: Path, split: str, count: int, sprites: Path, names: Sequence[str] = ATTENTION, **options: Any) -> None:
    """Share of each object's attention that lies in its rendered mask, of TokenCompose and of its base, on held-out renderings with the
    same noise: one JSON line a branch, scene and time."""
    from realcompo.interfaces import Regions, Request
    from realcompo.noise.diffusion import Solver
    from realcompo.registry import installed

    path, library, everything = attention_file(out, split), load(sprites), scenes(split, count)
    done = {(record["branch"], record["scene"]) for record in read(path)}
    for name in names:
        jobs = [k for k in range(count) if (name, k) not in done]
        if not jobs:
            continue
        branch = installed().branch(name, options, device="cpu")
        steps = Solver("ddim", branch.traits.schedule, 10, branch.traits.prediction_type).steps
        with path.open("a") as file:
            for k, scene in zip(jobs, (everything[k] for k in jobs), strict=True):
                picture = render(scene, "3d", library)
                regions = Regions((seen_regions(scene, picture.masks),))
                asked = Request((scene.caption,), ("",), regions, (None,), picture.pixels.shape[:2], 1.0)
                told = branch.encode(asked)
                pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
                clean = branch.vae.encode(pixels).latent * branch.traits.latent.scaling_factor
                noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(picture_seed(k, 1)))
                for share in TIMES:
                    step = min(steps, key=lambda s: abs(s.t / branch.traits.schedule.num_train_timesteps - share))
                    z = step.alpha_bar**0.5 * clean + (1 - step.alpha_bar) ** 0.5 * noise
                    maps = branch.attend(z, step, told)
                    inside = (maps * asked.regions.masks(*maps.shape[-2:])).sum((2, 3)) / maps.sum((2, 3))
                    record = {"branch": name, "split": split, "scene": k, "seed": 0, "time": share, "inside": float(inside.mean())}
                    file.write(json.dumps(record) + "\n")
                file.flush()
