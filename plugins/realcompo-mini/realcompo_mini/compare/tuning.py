"""A row of the tuning is its own name: `balance warmup=0.3 finish=0.7 inside=0.8,0 rate=0.1 boxes=2 steps=20`.

The first word is the form (fidelity, boxes, mean, hand-over, paper, balance, guided, feedback, published, switching, division), the rest
are settings of it: any option of its balancer, the guidance scale of a branch (`fidelity=4 boxes=2`; 4 of each where none is said),
`steps`, `scheduler`, `every` (probe every k-th step; of `guided`, its own option), `divisor` (maps at 16 / divisor), `other=layguide/sd`
(the spatial branch), `candidates=3` or `candidates=3,0.2` (noises a picture, chosen after such a share), and the cheaper forms of
docs/algorithm.md: `deep=2`, `interval=0.3,5`, `unconditional=shared`, `probe=lagged`. So a record says what made it, and nothing but the
records is needed to print the table of the tuning.
"""

from __future__ import annotations

from typing import Any

from realcompo_mini.compare.rows import BOXES, FIDELITY, FIRST, FLOW_ROWS, ROWS, STEPS, Row

FORMS = {
    "fidelity": ("core/fixed", {}),
    "boxes": ("core/fixed", {"spatial": 1.0}),
    "mean": ("core/mean", {}),
    "hand-over": ("core/hand-over", {}),
    "paper": ("core/paper", {}),
    "balance": ("core/balance", {"rule": "running"}),
    "guided": ("core/guided", {}),
    "feedback": ("core/feedback", {}),
    "published": ("core/published", {}),
    "switching": ("core/expert-switching", {}),
    "division": ("core/fair-division", {}),
}

PROBES: dict[str, dict[str, Any]] = {
    "published": {"detach": ("fidelity",), "guided": False},
    "division": {"lagged": True, "detach": ("fidelity", "spatial")},
}
"""How a form's probe looks: the published code's, and maps of the passes that predict, of which no slope is asked."""


def parse(text: str) -> Row:
    """The row that `text` describes.

    Raises:
        ValueError: an unknown form, or a word that is not `setting=value`. Unknown options are refused by the balancer.
    """
    form, *words = text.split()
    if form not in FORMS:
        raise ValueError(f"no row or form is called {form!r}; forms: {', '.join(FORMS)}")
    balancer, options = FORMS[form]
    told: dict[str, Any] = dict(options)
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise ValueError(f"{word!r} is not setting=value (in {text!r})")
        told[name] = _value(value)
    guidance = {FIDELITY: told.pop("fidelity", FIRST[FIDELITY]), BOXES: told.pop("boxes", FIRST[BOXES])}
    probe: dict[str, Any] = {"every": told.pop("every")} if "every" in told and form != "guided" else {}
    if told.get("probe") == "lagged":
        probe[told.pop("probe")] = True
    probe |= PROBES.get(form, {})
    steps, divisor, other, deep = told.pop("steps", STEPS), told.pop("divisor", 2), told.pop("other", BOXES), told.pop("deep", 1)
    run: dict[str, Any] = {"scheduler": told.pop("scheduler")} if "scheduler" in told else {}
    where = {name: told.pop(name) for name in ("interval", "unconditional") if name in told}
    run |= {"guidance": where} if where else {}
    if "candidates" in told:
        several = told.pop("candidates")
        run["candidates"] = several if isinstance(several, int) else {"count": several[0], "until": several[1]}
    return Row(text, balancer, told, probe, form != "fidelity", guidance, steps, divisor, other, deep, run)


def chosen(names: list[str] | None) -> list[Row]:
    """Rows by name, or by their settings as `parse` reads them; the rows of the page's first table if None.

    Raises:
        ValueError: neither.
    """
    if not names:
        return list(ROWS)
    table = {row.name: row for row in (*ROWS, *FLOW_ROWS)}
    return [table[name] if name in table else parse(name) for name in names]


def _value(text: str) -> Any:
    """A number, a pair of them, or a word."""
    parts = text.split(",")
    try:
        numbers = [int(p) if p.lstrip("-").isdigit() else float(p) for p in parts]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
