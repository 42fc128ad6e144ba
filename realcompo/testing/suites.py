"""The contract of suites: cases that can be drawn side by side, the same at every run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from ..evaluation.study import checked
from ..interfaces import Case, Suite
from ..recipes.recipe import PictureEntry
from ..specs import ScorerSpec, SuiteSpec
from .common import ComponentContract


class SuiteContract(ComponentContract[SuiteSpec]):
    """What every suite keeps to. Override, beside `ComponentContract`'s:

    Attributes:
        most: so many of its cases are looked at closely.
    """

    kind = SuiteSpec
    most: ClassVar[int] = 200

    @classmethod
    def suite(cls) -> Suite:
        built: Suite = cls.host().suite(cls.component, cls.options)
        return built

    @classmethod
    def cases(cls, seed: int | None = None) -> Sequence[Case]:
        """Those that are looked at."""
        return cls.suite().cases(seed)[: cls.most]

    # -- checks ----------------------------------------------------------------------------------------------------------

    def test_cases_can_be_drawn(self) -> None:
        """Ids and files are unique, files stay in the folder, and the pictures of a scene have one prompt."""
        found = self.suite().cases()
        assert all(isinstance(case, Case) for case in found)
        checked(found, self.component)

    def test_cases_are_the_same_at_every_run(self) -> None:
        """A run that was stopped asks again, and goes on."""
        assert list(self.cases()) == list(self.suite().cases()[: self.most])

    def test_cases_survive_a_recipe(self) -> None:
        """Each is a picture of a recipe, seed and layout included, that is written and read back equal."""
        for case in self.cases():
            entry = PictureEntry(prompt=case.prompt, negative_prompt=case.negative_prompt, seed=case.seed, conditions=dict(case.conditions))
            assert entry.seed is not None
            assert PictureEntry.model_validate(json.loads(json.dumps(entry.model_dump_plain()))) == entry

    def test_truth_is_plain_data(self) -> None:
        """What scorers read can be written down."""
        for case in self.cases():
            assert json.loads(json.dumps(dict(case.truth), allow_nan=False)) == dict(case.truth)

    def test_another_seed_is_other_noise_only(self) -> None:
        """Prompts, layouts and truths stay: the seed is that of the noises, which no two pictures of a scene share."""
        first, second = ({case.id: case for case in self.cases(seed)} for seed in (1, 2))
        for id in first.keys() & second.keys():
            one, other = first[id], second[id]
            assert (one.prompt, one.conditions, one.truth, one.scene) == (other.prompt, other.conditions, other.truth, other.scene)
        assert [case.seed for case in first.values()] != [case.seed for case in second.values()]
        assert len({(case.group, case.seed) for case in first.values()}) == len(first)

    def test_its_files_stay_in_the_folder(self) -> None:
        """What it wants beside the pictures has a place below the recipe's folder, and takes none of theirs."""
        cases = self.cases()
        taken = {f"{case.file}.png" for case in cases}
        for name, text in self.suite().files(cases).items():
            parts = PurePosixPath(name).parts
            assert isinstance(text, str) and parts and not name.startswith("/") and not {".", ".."} & set(parts), name
            assert name not in taken, f"{name} is a picture's"

    def test_its_scorers_are_here(self) -> None:
        """Each scorer that it names can be found where its plugin is installed."""
        for id in self.spec().scorers:
            assert self.host().find(ScorerSpec, id).columns
