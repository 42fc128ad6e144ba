"""Bodies of requests, for their checks and for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RecipeData = Annotated[dict[str, Any], Field(description="a recipe as JSON: see GET /api/schema; {} is what is configured")]


class Body(BaseModel):
    """Base: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckBody(Body):
    """Of check."""

    recipe: RecipeData


class DrawBody(Body):
    """Of draw."""

    recipe: RecipeData
    client: str | None = Field(None, max_length=100, description="any text of the caller's; jobs and events can be asked for by it")


class PlanBody(Body):
    """Of plan."""

    recipe: RecipeData
    wish: str = Field("", max_length=2000, description="what is wanted otherwise ('move the dog left'); empty: the picture is planned anew")
    locked: tuple[str, ...] = Field((), max_length=1000, description="ids of the regions that stay as they are")


class PhraseItem(Body):
    """One region's words."""

    id: str = Field(max_length=2000)
    phrase: str = Field(max_length=2000)
    span: tuple[int, int] | None = None


class PhrasesBody(Body):
    """Of phrases."""

    prompt: str = Field(max_length=20_000)
    items: tuple[PhraseItem, ...] = Field(max_length=200, description="in the order in which they take the prompt's words")


class CancelBody(Body):
    """Of cancel."""

    keep: bool = Field(False, description="keep what the last step expected as a picture")


class RecipeBody(Body):
    """Of recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    recipe: RecipeData
    form: Literal["json", "toml", "yaml", "python", "command"] = Field("toml", alias="as")


class ProblemModel(BaseModel):
    """One error."""

    kind: str = Field(description="class of the error, or Denied, NotFound, TooLarge")
    what: str
    where: str | None
    mend: str | None
    at: list[str | int] | None = Field(description="the field of the recipe that it belongs to")
    text: str = Field(description="all of it, as the command line prints it")


class ErrorsModel(BaseModel):
    """Every answer of 400 and above."""

    errors: list[ProblemModel]
