"""Every misbehaviour, and every prompt: no unhandled error, no wrong layout accepted, no key in any message."""

from __future__ import annotations

from pathlib import Path

import pytest
from llm_canary import CANARY
from llm_oracle import Label, faults, labels, right_layout, wrong_layouts
from llm_scenarios import SCENARIOS, SIZE, Scenario, drive, no_server
from realcompo_openai.reply import RawObject, RawReply
from realcompo_openai.validate import validate

from realcompo.interfaces import PlanRequest

HEAVY = ("10 MB of text", "more than 10 MB, without an end", "nested 100,000 deep")


def meets(scenario: Scenario, chosen: list[Label], always: list[Label]) -> None:
    """Once, then honest: a plan. Always: a right plan, or an error of ours."""
    for row in (drive(scenario, False, chosen), drive(scenario, True, always, seed=1)):
        assert (row.unhandled, row.wrong, row.unmended) == (0, 0, 0), row.errors
        assert not any(CANARY in error or CANARY[5:] in error or "\x1b" in error for error in row.errors)
        assert all("mend:" in error for error in row.errors)


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=lambda number: SCENARIOS[number].name)
def test_misbehaviour(number: int) -> None:
    """Each with a quarter of the forty prompts, the next one with the next quarter; heavy ones with an eighth."""
    scenario, everything = SCENARIOS[number], labels()
    step = 8 if scenario.name in HEAVY else 4
    meets(scenario, everything[number % step :: step], everything[3::20])


@pytest.mark.deep
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_every_misbehaviour_with_every_prompt(scenario: Scenario) -> None:
    meets(scenario, labels(), labels())


def test_no_server() -> None:
    row = no_server(labels())
    assert (row.refused, row.unhandled) == (40, 0) and "no server answers" in row.errors[0]


def test_120_right_layouts_are_taken_and_the_wrong_ones_refused() -> None:
    """The validator against the oracle alone: 3 right layouts a prompt, and some thirty wrong ones."""
    wrong = 0
    for label in labels():
        request = PlanRequest(label.text, SIZE)
        for seed in range(3):
            good = right_layout(label, seed)
            verdict = validate(RawReply(tuple(RawObject(phrase, box, "corners") for phrase, box in good)), request, 60)
            assert not verdict.problems, (label.text, verdict.problems, good)
            assert not faults(label, [(item.phrase, item.box) for item in verdict.items])
            for kind, layout in wrong_layouts(label, seed).items():
                wrong += 1
                reply = RawReply(tuple(RawObject(phrase, box, "corners") for phrase, box in layout))
                assert validate(reply, request, 60).problems, (label.text, kind, layout)
    assert wrong > 1000


def test_the_oracle_shares_no_code_with_the_validator() -> None:
    import llm_oracle

    assert "realcompo" not in Path(llm_oracle.__file__).read_text("utf-8")
