"""Options of the suites and scorers; importing them imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from realcompo.specs import Options

Category = Literal["color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex"]
CATEGORIES: tuple[Category, ...] = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")


class CompBenchOptions(Options):
    """Of T2I-CompBench."""

    folder: str | None = Field(None, description="of its prompt files, color_val.txt and so on: examples/dataset of its repository")
    categories: tuple[Category, ...] = Field(CATEGORIES, description="of prompts")
    split: str = Field("val", description="of the prompt files: CATEGORY_SPLIT.txt")
    images: int = Field(10, ge=1, description="pictures a prompt; seeds count on from 42, as its own script's do")


class FileOptions(Options):
    """Of what reads the files of T2I-CompBench's scorers."""

    source: Literal["usual", "blip", "spatial", "3d", "numeracy", "clip", "3-in-1"] = Field(
        "usual", description="which scorer's file is read; usual: the one that is published for each category"
    )


class GenEvalOptions(Options):
    """Of GenEval."""

    metadata: str | None = Field(None, description="evaluation_metadata.jsonl of its repository, or a file of that form")
    images: int = Field(4, ge=1, description="pictures a prompt; seeds count on from 42")


class CocoOptions(Options):
    """Of COCO's boxes."""

    instances: str | None = Field(None, description="instances_val2017.json, or a file of that form")
    captions: str | None = Field(None, description="captions_val2017.json: its first caption opens the sentence; else 'a photo'")
    count: int = Field(3000, ge=1, description="pictures of the annotations, in the order of their ids")
    least: int = Field(1, ge=1, description="objects that a picture must have")
    most: int = Field(8, ge=1, description="objects that a picture may have")
    area: float = Field(0.02, ge=0, lt=1, description="share of the picture that an object must cover; smaller ones are left out")
    images: int = Field(1, ge=1, description="noises a picture; seeds count on from 42")


class LayoutOptions(Options):
    """Of a file of layouts."""

    file: str | None = Field(None, description="of layouts, in any format that `realcompo import` reads")
    images: int = Field(1, ge=1, description="noises a layout; seeds count on from 42")


class DetectorOptions(Options):
    """Of what judges by a detector."""

    model: str | None = Field(None, description="an object detector of transformers: hub id or folder, e.g. 'facebook/detr-resnet-101'")
    threshold: float = Field(0.3, ge=0, le=1, description="score that a detection must have")
    overlap: float = Field(0.5, gt=0, lt=1, description="least intersection over union of a detection and the box that it is found in")
    download: bool = Field(False, description="fetch the model from the hub where it is not in its cache")


class GenEvalScorerOptions(Options):
    """Of GenEval's questions; numbers as published."""

    model: str | None = Field(None, description="an object detector of transformers: hub id or folder; it must know COCO's classes")
    clip: str | None = Field(None, description="a CLIP model for colours: hub id or folder; without it prompts with colours are not judged")
    threshold: float = Field(0.3, ge=0, le=1, description="score that a detection must have")
    counting_threshold: float = Field(0.9, ge=0, le=1, description="the same, for prompts that count")
    position: float = Field(0.1, ge=0, description="share of two objects' sizes by which they must be apart to stand in a relation")
    most: int = Field(16, ge=1, description="detections of a class that are looked at")
    download: bool = Field(False, description="fetch the models from the hub where they are not in its cache")


class ClipOptions(Options):
    """Of the CLIP score."""

    model: str = Field("openai/clip-vit-base-patch32", description="a CLIP model of transformers: hub id or folder")
    download: bool = Field(False, description="fetch the model from the hub where it is not in its cache")


class AestheticOptions(Options):
    """Of the aesthetic score."""

    model: str = Field("openai/clip-vit-large-patch14", description="the CLIP model that the predictor was trained on: hub id or folder")
    head: str | None = Field(None, description="the predictor's weights: .safetensors, or .pth, which is read as tensors only")
    download: bool = Field(False, description="fetch the CLIP model from the hub where it is not in its cache")


class InceptionOptions(Options):
    """Of FID and KID."""

    weights: str | None = Field(
        None, description="weights-inception-2015-12-05 of torch-fidelity: .safetensors, or .pth (read as tensors only)"
    )
    reference: str | None = Field(None, description="folder of pictures that the distance is measured to")
    subsets: int = Field(20, ge=1, description="of KID")
    subset_size: int = Field(1000, ge=2, description="pictures of each subset of KID; at most as many as there are")
