"""Options of the planner, and the layers they come from: the recipe's options, then the user file's ``[llm]`` table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from realcompo.errors import BadOption, UnknownName, nearest
from realcompo.specs import Options

OPENAI_URL = "https://api.openai.com/v1"


class LLMOptions(Options):
    """All have defaults; what a recipe leaves out is taken from ``[llm]`` of the user file."""

    guarded: ClassVar[frozenset[str]] = frozenset({"base_url", "key_from", "examples", "cache"})
    """A stranger's recipe could send the key or a local file elsewhere with these, so only the user sets them."""

    model: str = Field("gpt-4o-mini", min_length=1, description="the model's name at the server")
    base_url: str | None = Field(
        None, description="address of the server, with its /v1; OPENAI_BASE_URL or OpenAI itself where it is missing"
    )
    key_from: str = Field("OPENAI_API_KEY", min_length=1, description="name of the environment variable that holds the key")
    temperature: float | None = Field(0.3, ge=0, le=2, description="of the model; none = the server's own")
    seed: int | None = Field(None, description="told to the model; the picture's seed where it is missing")
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds for one whole reply")
    retries: int = Field(3, ge=0, le=20, description="how often the model is told what was wrong and asked again")
    server_retries: int = Field(4, ge=0, le=20, description="how often a busy or broken server is asked again")
    backoff: float = Field(0.5, ge=0, le=60, description="seconds before a server is asked again the first time; doubles each time")
    max_wait: float = Field(60.0, ge=0, le=3600, description="the longest wait (seconds) that a server's Retry-After may ask for")
    max_in_flight: int = Field(4, ge=1, le=256, description="requests of a batch at the same time")
    max_tokens: int = Field(2000, ge=16, le=200_000, description="the longest reply, in tokens; doubled where a reply was cut off")
    max_objects: int = Field(60, ge=1, le=500, description="the most boxes, where the branches state no limit of their own")
    cache: str | None = Field(None, description="folder of the cache; 'off' = none; the user's cache folder where it is missing")
    examples: str | None = Field(None, description="a TOML or JSON file with examples of your own")
    examples_shown: int = Field(3, ge=0, le=20, description="how many examples the model is shown: those most like the prompt")
    fallback: str | None = Field(None, description="id of a planner to ask if this one fails, such as 'mini/planner'; none = fail")


def settled(options: LLMOptions, user: Mapping[str, Any], trusted: Mapping[str, Any] | None = None) -> LLMOptions:
    """The options with the ``[llm]`` table beneath them, and the address and the cache folder made definite.

    Args:
        options: what the recipe says; what it leaves at its default does not count as said.
        user: the table of the user and project files together.
        trusted: the table of the user file alone: a project file may have come with a stranger's folder.

    Raises:
        UnknownName, BadOption: the table holds a key that is no option, a value that it cannot take, or a secret.
    """
    where = "[llm] of the user or project file"
    for name in user:
        if ("key" in name.lower() and name != "key_from") or ("token" in name.lower() and name != "max_tokens"):
            raise BadOption(f"{name!r} looks like a key of an account", where=where, mend="put keys into the environment: OPENAI_API_KEY=…")
        if name not in LLMOptions.model_fields:
            raise UnknownName(f"it has no key {name!r}", where=where, mend=nearest(name, LLMOptions.model_fields))
        if trusted is not None and name in LLMOptions.guarded and trusted.get(name) != user[name]:
            raise BadOption(
                f"{name} is set by a project file, which a stranger could use to read your key or your files",
                where=where,
                mend="put it into your user file, or say it yourself: --set planner.options." + name + "=…",
            )
    said = {name: getattr(options, name) for name in options.model_fields_set}
    try:
        full = LLMOptions(**{**user, **said})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadOption(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=where, mend="see `realcompo show openai/planner`"
        ) from None
    url = (full.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
    _check_url(url)
    cache = full.cache
    if cache is None:
        import platformdirs

        cache = str(platformdirs.user_cache_path("realcompo") / "llm")
    return full.model_copy(update={"base_url": url, "cache": cache if cache == "off" else str(Path(cache).expanduser())})


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadOption(
            "base_url holds a name, a password or a query",
            where="base_url",  # not shown: it may be a secret
            mend="write only scheme, host, port and path; put the key into the environment",
        )
    if parts.scheme not in ("http", "https") or not host:
        raise BadOption(f"{url!r} is no address of a server", where="base_url", mend="write for example http://localhost:8000/v1")
