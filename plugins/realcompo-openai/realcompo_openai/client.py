"""One server, through the `openai` client: our retries and time limit, 10 MB at most, no redirects, the key in no error."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import openai

from .errors import KeyProblem, ServerProblem, shown
from .keys import Scrubber, is_loopback, key_for
from .options import LLMOptions
from .reply import LIMIT, loads

_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 529}


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: None where the server sent none.
        refusal: the model's own words for refusing, or the server's filter.
        cut: whether it ended at the limit of tokens.
        tokens: of the prompt, and of the reply; 0 where the server does not say.
    """

    text: str | None
    refusal: str | None = None
    cut: bool = False
    tokens: tuple[int, int] = (0, 0)


class Refused(Exception):
    """400 or 422: the server does not take such a request. `said` is the body of its answer."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said
        super().__init__(f"{status}")


class TooLong(Exception):
    """The reply is longer than `LIMIT`."""


class _Broken(Exception):
    """Worth another try. `wait`: seconds that the server asks for."""

    def __init__(self, what: str, mend: str, wait: float | None = None) -> None:
        self.what, self.mend, self.wait = what, mend, wait
        super().__init__(what)


class _Overflow(ValueError):
    pass


class _CappedStream(httpx2.AsyncByteStream):
    """A body that ends with an error past the limit: an endless reply must not fill the memory."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LIMIT:
                raise _Overflow
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Capped(httpx2.AsyncHTTPTransport):
    """Transport with a limit on bodies, errors' bodies included."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("it compresses its reply, which was not asked for")  # a small body may unpack to gigabytes
        response.stream = _CappedStream(response.stream)
        return response


class Server:
    """A server and the key for it. Use it as an async context manager: its connections belong to one event loop.

    Args:
        options: settled ones, with the address.

    Raises:
        KeyProblem: no key for a server that is not on this machine.
    """

    def __init__(self, options: LLMOptions) -> None:
        if options.base_url is None:
            raise TypeError("options must be settled")
        self.url, self.options = options.base_url, options
        self._key = key_for(self.url, options.key_from)
        self.scrub = Scrubber(self._key)
        self.requests = 0
        self.repeated = 0
        self._client: openai.AsyncOpenAI | None = None

    async def __aenter__(self) -> Server:
        secure = urlsplit(self.url).scheme == "https"
        # Without TLS there is nothing to verify, and reading the certificates takes longer than a local reply.
        transport = _Capped(verify=True, proxy=_proxy(self.url)) if secure else _Capped(verify=False, proxy=_proxy(self.url))
        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.url,
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            await self._client.close()

    async def ask(self, body: Mapping[str, Any]) -> Answer:
        """One answer, however often a busy or broken server must be asked.

        Raises:
            Refused: it does not take such a request. TooLong: the reply is. ServerProblem, KeyProblem: nothing to be done here.
        """
        tries = self.options.server_retries + 1
        for number in range(tries):
            try:
                return await self._once(body)
            except _Broken as error:
                if number == tries - 1:
                    again = f" ({tries} tries)" if tries > 1 else ""
                    raise ServerProblem(self.scrub.text(error.what) + again, where=self.url, mend=error.mend) from None
                if error.wait is not None and error.wait > self.options.max_wait:
                    raise ServerProblem(
                        f"it asks to wait {error.wait:.0f} seconds: {error.what}", where=self.url, mend="try later, or raise max_wait"
                    ) from None
                self.repeated += 1
                pause = self.options.backoff * 2**number * (1 + random.random() / 4)
                await asyncio.sleep(min(max(pause, error.wait or 0.0), self.options.max_wait))
        raise ServerProblem("it was not asked", where=self.url, mend="raise server_retries")  # not reached: tries ≥ 1

    async def _once(self, body: Mapping[str, Any]) -> Answer:
        if self._client is None:
            raise TypeError("use the server as a context manager")
        timeout = self.options.timeout
        self.requests += 1
        slow = _Broken(f"no whole reply within {timeout:g} seconds", "raise timeout, or use a faster model")
        try:
            async with asyncio.timeout(timeout):
                raw = await self._client.chat.completions.with_raw_response.create(
                    **body,
                    timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0)),
                    extra_headers={"Accept-Encoding": "identity"},
                )
            content = raw.http_response.content
        except (TimeoutError, openai.APITimeoutError):
            raise slow from None
        except openai.APIStatusError as error:
            self._status(error.status_code, _text(error.response), error.response.headers)
            raise  # not reached
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, OSError, ValueError) as error:
            raise self._connection(error) from None
        return _answer(content)

    def _connection(self, error: BaseException) -> Exception:
        """What to make of a connection that did not end well."""
        chain: list[BaseException] = [error]
        while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None and deeper not in chain:
            chain.append(deeper)
        if any(isinstance(one, _Overflow) for one in chain):
            return TooLong()
        if any(isinstance(one, httpx2.ConnectError) for one in chain):
            return ServerProblem("no server answers", where=self.url, mend="start the server, or set base_url (docs/llm-planner.md)")
        reason = next((one for one in reversed(chain) if isinstance(one, httpx2.HTTPError)), chain[-1])
        told = shown(self.scrub.text(str(reason)), 200) or type(reason).__name__
        return _Broken(f"the connection broke off: {told}", "look at the server's own log")

    def _status(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        """Raise what a status means. The text is scrubbed before it is cut, so that no half of a key is left."""
        said = shown(self.scrub.text(_message(text)), 300)
        told = f"{status}: {said}" if said else f"{status}"
        if status in (400, 422):
            raise Refused(status, shown(self.scrub.text(text), 4000))
        if status in (401, 403):
            raise KeyProblem(f"it does not take the key ({told})", where=self.url, mend=f"look at the key in {self.options.key_from}")
        if status == 429 and "insufficient_quota" in text:
            raise KeyProblem(f"the account has nothing left ({told})", where=self.url, mend="look at the account")
        if status in _TRANSIENT:
            what = "it is asked too often" if status == 429 else "the server fails"
            raise _Broken(f"{what} ({told})", "try later; lower max_in_flight if it is too many at once", _wait(headers))
        if status == 404:
            raise ServerProblem(
                f"it knows no such model or address ({told})",
                where=self.url,
                mend=f"is {self.options.model!r} the name of one of its models, and does base_url end in /v1?",
            )
        if 300 <= status < 400:
            raise ServerProblem(
                "it sends elsewhere, where neither prompt nor key are taken", where=self.url, mend="set base_url to the right address"
            )
        raise ServerProblem(f"it does not answer the request ({told})", where=self.url, mend="look at the server's own log")


def _proxy(url: str) -> str | None:
    """The environment's proxy for an address; never for this machine."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _text(response: Any) -> str:
    try:
        return str(response.text)
    except (httpx2.StreamError, ValueError, LookupError):
        return ""


def _message(text: str) -> str:
    """The message in an error's body, whatever form it has."""
    try:
        data: Any = loads(text)
    except ValueError:
        return text
    for name in ("error", "message", "detail"):
        if isinstance(data, dict) and name in data:
            data = data[name]
    return data if isinstance(data, str) else text


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After asks for: a number or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            from datetime import UTC, datetime

            when = parsedate_to_datetime(value)
            seconds = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return seconds if 0 <= seconds < 1e6 else None


def _answer(content: bytes) -> Answer:
    """The first choice of a chat completion.

    Raises:
        _Broken: it is none: cut off, or the page of another kind of server.
    """
    wrong = _Broken("it answers with something that is no chat completion", "does base_url end in /v1? look at the server's own log")
    try:
        data = loads(content.decode("utf-8"))
        choice = data["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        usage = data.get("usage")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise wrong from None
    if isinstance(text, list):  # content in parts
        text = "".join(part["text"] for part in text if isinstance(part, dict) and isinstance(part.get("text"), str))
    if text is not None and not isinstance(text, str):
        raise wrong
    if text is not None:
        text = text.encode(errors="replace").decode()  # JSON can spell half of a surrogate pair, which nothing else can
    finish = choice.get("finish_reason")
    if finish == "content_filter" and not refusal:
        refusal = "the server's filter stopped the reply"
    usage = usage if isinstance(usage, dict) else {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    spent = tuple(max(0, one) if type(one) is int else 0 for one in counts)
    return Answer(text or None, str(refusal) if refusal else None, finish == "length", (spent[0], spent[1]))
