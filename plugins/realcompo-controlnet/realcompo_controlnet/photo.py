"""The poses of a photo's people, found by the OpenPose network of controlnet-aux (extra ``photo``), as OpenPose's JSON.

    python -m realcompo_controlnet.photo dancers.jpg --weights body_pose_model.pth --allow-pickle -o pose.json

The JSON is what ``rc.Keypoints.from_openpose`` and a recipe's ``file = "pose.json"`` read. People stand in it from left to right. The
network's weights and controlnet-aux's OpenPose code are CMU's, for non-commercial use.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from realcompo.conditions.keypoints import OPENPOSE_18
from realcompo.errors import BadCheckpoint, BadCondition, RealCompoError

if TYPE_CHECKING:
    from PIL import Image

HUB, FILE = "lllyasviel/Annotators", "body_pose_model.pth"
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SIDE = 16384  # of a photo, before it is unpacked
SEEN_SIDE = 768
"""The longer side that the network is shown: it keeps some sixty maps of the size of what it sees."""


class Detector(Protocol):
    """What controlnet-aux's ``OpenposeDetector`` offers."""

    def detect_poses(self, oriImg: Any) -> Sequence[Any]:
        """(H, W, 3) RGB → poses with ``body.keypoints``: 18 of None or (x, y) in shares of the picture."""


def load_detector(
    weights: str | Path | None = None, *, download: bool = False, allow_pickle: bool = False, device: str = "cpu"
) -> Detector:
    """The detector of bodies, without those of hands and faces.

    Args:
        weights: a .safetensors or .pth file; `FILE` of the hub's `HUB` if None.
        download: allow the network, as REALCOMPO_DOWNLOAD=1 does; else the hub's local cache must hold the file.
        allow_pickle: the published file is pickled. Even where allowed it is read as tensors only.

    Raises:
        BadCheckpoint: controlnet-aux or the file is missing, the file is pickled and not allowed, or of another network.
    """
    from realcompo.toolkit.tensor_files import open_tensors

    path = Path(weights).expanduser() if weights is not None else _cached(download)
    if not path.is_file():
        raise BadCheckpoint("there is no such file", where=str(path), mend=f"give {FILE}, or leave it out to take {HUB}'s")
    file = open_tensors(path, allow_pickle)
    detector, body, network = _parts()
    tensors = file.read(file.shapes)
    # the file names a layer by itself, the network by its block and the layer
    wanted = {name: name.partition(".")[2] for name in network.state_dict()}
    try:
        network.load_state_dict({name: tensors[layer] for name, layer in wanted.items()})
    except (KeyError, RuntimeError) as error:
        raise BadCheckpoint(f"it is not OpenPose's network of bodies ({str(error)[:80]})", where=str(path), mend=f"give {FILE}") from error
    body.model = network.eval().requires_grad_(False).to(device)
    return detector(body)  # type: ignore[no-any-return]


def poses(photo: str | Path | Image.Image, detector: Detector) -> dict[str, Any]:
    """OpenPose's JSON of a photo: ``people`` from left to right, points in pixels, ``canvas_width`` and ``canvas_height``.

    Raises:
        BadCondition: no photo, or nobody in it.
    """
    import numpy as np

    picture, where = _open(photo)
    width, height = picture.size
    shown = picture.copy()
    shown.thumbnail((SEEN_SIDE, SEEN_SIDE))
    found = []
    for pose in detector.detect_poses(np.asarray(shown)):
        points = [(point.x * width, point.y * height, 1.0) if point is not None else (0.0, 0.0, 0.0) for point in pose.body.keypoints]
        if len(points) != len(OPENPOSE_18):
            raise BadCondition(f"the detector answers with {len(points)} points", where=where, mend="use one of OpenPose's 18")
        seen = [x for x, _, confidence in points if confidence]
        if seen:
            found.append((sum(seen) / len(seen), [round(number, 2) for point in points for number in point]))
    if not found:
        raise BadCondition(
            "nobody was found in it", where=where, mend="show people large, whole and unhidden, or write the points yourself"
        )
    people = [{"pose_keypoints_2d": numbers} for _, numbers in sorted(found, key=lambda one: one[0])]
    return {"canvas_width": width, "canvas_height": height, "people": people}


def _open(photo: str | Path | Image.Image) -> tuple[Image.Image, str]:
    """Upright RGB and its name in messages."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    where = str(photo) if isinstance(photo, str | Path) else "the photo"
    try:
        opened = Image.open(Path(photo).expanduser(), formats=FORMATS) if isinstance(photo, str | Path) else photo
        if max(opened.size) > MAX_SIDE:
            raise BadCondition(f"it is {opened.width}×{opened.height} pixels", where=where, mend=f"make it at most {MAX_SIDE} along a side")
        return ImageOps.exif_transpose(opened).convert("RGB"), where
    except FileNotFoundError:
        raise BadCondition("there is no such photo", where=where, mend="check its path") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadCondition(f"it cannot be read: {error}", where=where, mend=f"give {', '.join(FORMATS)}") from None


def _cached(download: bool) -> Path:
    from realcompo.toolkit.sources import may_download

    fetch = may_download(download)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(HUB, FILE, local_files_only=not fetch))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BadCheckpoint(
            f"{FILE} is not in the local cache of the hub" if not fetch else f"it cannot be fetched: {error}",
            where=HUB,
            mend=f"allow the download (--download, or REALCOMPO_DOWNLOAD=1), or fetch it yourself: hf download {HUB} {FILE}",
        ) from None


def _parts() -> tuple[Any, Any, Any]:
    """controlnet-aux's detector class, an empty body estimator and its network."""
    try:
        from controlnet_aux import OpenposeDetector
        from controlnet_aux.open_pose.body import Body
        from controlnet_aux.open_pose.model import bodypose_model
    except (ImportError, RuntimeError) as error:  # a torchvision of another build raises the latter
        raise BadCheckpoint(
            f"a pose from a photo needs the package controlnet-aux ({error})", mend="pip install 'realcompo-controlnet[photo]'"
        ) from error
    # its constructor unpickles a path; what stands in the file was read more carefully
    return OpenposeDetector, Body.__new__(Body), bodypose_model()


def main(words: Sequence[str] | None = None) -> int:
    """The command of the module's docstring."""
    from realcompo.files import write_whole

    parser = argparse.ArgumentParser(prog="python -m realcompo_controlnet.photo", description="The poses of a photo, as OpenPose's JSON.")
    parser.add_argument("photo", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--weights", type=Path, help=f"{FILE}, or the same as .safetensors; {HUB}'s by default")
    parser.add_argument(
        "--download", action="store_true", help="fetch the weights where the hub's cache lacks them, as REALCOMPO_DOWNLOAD=1"
    )
    parser.add_argument("--allow-pickle", action="store_true", help="the published weights are pickled; they are read as tensors only")
    parser.add_argument("--device", default="cpu")
    told = parser.parse_args(words)
    if not told.output.parent.is_dir():
        parser.error(f"{told.output.parent} is no folder: make it first")
    try:
        detector = load_detector(told.weights, download=told.download, allow_pickle=told.allow_pickle, device=told.device)
        found = poses(told.photo, detector)
    except RealCompoError as error:
        parser.exit(error.exit_code, f"{error}\n")
    try:
        write_whole(told.output, json.dumps(found))
    except OSError as error:
        parser.exit(BadCondition.exit_code, f"{told.output}: it cannot be written: {error.strerror}\n  mend: choose another place\n")
    phrases = ", ".join(f"'person {k + 1} from the left'" for k in range(len(found["people"])))
    print(f"{told.output}: {len(found['people'])} people. In a recipe: file = '{told.output}', phrases = [{phrases}]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
