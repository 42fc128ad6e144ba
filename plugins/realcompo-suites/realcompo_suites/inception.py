"""FID (Heusel et al. 2017) and KID (Bińkowski et al. 2018) by torch-fidelity: its Inception sees a picture, its formulas compare many."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realcompo.errors import BadOption, PluginProblem
from realcompo.interfaces import Record, Scorer, Shot
from realcompo.interfaces.suite import pack, unpack
from realcompo_suites.files import named
from realcompo_suites.options import InceptionOptions
from realcompo_suites.weights import tensors

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
BATCH = 16


class Inception(Scorer):
    """Features (2048) of each picture; the distances of many to those of a folder."""

    options: InceptionOptions

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        return [{"features": pack(look)} for look in self._features([shot.image for shot in shots])]

    def whole(self, column: str, records: Sequence[Record]) -> float:
        if len({record["features"] for record in records}) < 2:
            return math.nan  # one picture has no covariance
        looks = np.stack([unpack(record["features"]) for record in records]).astype(np.float64)
        if column == "fid":
            from torch_fidelity.metric_fid import fid_statistics_to_metric

            told = fid_statistics_to_metric({"mu": looks.mean(axis=0), "sigma": np.cov(looks, rowvar=False)}, self._moments, False)
            return float(next(iter(told.values())))
        import torch
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        size = min(self.options.subset_size, len(looks), len(self._reference))
        told = kid_features_to_metric(
            torch.from_numpy(looks),
            torch.from_numpy(self._reference),
            kid_subsets=self.options.subsets,
            kid_subset_size=size,
            rng_seed=0,
            verbose=False,
        )
        return float(told[KEY_METRIC_KID_MEAN])

    def _features(self, images: Sequence[Image]) -> np.ndarray[Any, Any]:
        """(N, 2048), one picture at a time: they may be of several sizes."""
        import torch

        rows = []
        for image in images:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].to(self.device)
            with torch.no_grad():
                rows.append(self._network(pixels)[0][0].float().cpu().numpy())
        return np.stack(rows)

    @cached_property
    def _network(self) -> Any:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
            raise PluginProblem(f"suites/fid needs torch-fidelity: {error}", mend="pip install 'realcompo-suites[fid]'") from None
        import torch

        found = tensors(self.options.weights, "suites/fid.weights", "file of Inception's weights")
        with tempfile.TemporaryDirectory(prefix="realcompo-fid-") as folder:
            safe = Path(folder) / "inception.pth"  # torch-fidelity unpickles what it is given: it is given tensors that we wrote
            torch.save(found, safe)
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(safe))
        return network.to(self.device)

    @cached_property
    def _reference(self) -> np.ndarray[Any, Any]:
        """(M, 2048) of the folder's pictures."""
        folder = named(self.options.reference, "suites/fid.reference", "folder of pictures")
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if len(paths) < 2:
            raise BadOption("it holds no pictures", where=str(folder), mend="name a folder of pictures: --with suites/fid.reference=PATH")
        return np.concatenate([self._features(some) for some in _opened(paths)]).astype(np.float64)

    @cached_property
    def _moments(self) -> dict[str, np.ndarray[Any, Any]]:
        return {"mu": self._reference.mean(axis=0), "sigma": np.cov(self._reference, rowvar=False)}


def _opened(paths: Sequence[Path]) -> Iterable[list[Image]]:
    from PIL import Image

    for start in range(0, len(paths), BATCH):
        images = []
        for path in paths[start : start + BATCH]:
            with Image.open(path) as image:
                images.append(image.convert("RGB"))
        yield images
