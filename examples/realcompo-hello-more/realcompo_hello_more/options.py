"""Options are pydantic models without torch; each field says what it means."""

from pydantic import Field

from realcompo.specs import Options


class PulseOptions(Options):
    period: int = Field(4, ge=2, description="steps from one turn of the spatial branches to the next")
    high: float = Field(0.8, gt=0, lt=1, description="weight of the spatial branches at their turn; the rest of the time it is 1 − high")
