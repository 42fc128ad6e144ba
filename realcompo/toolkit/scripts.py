"""Words in any script, folded so that spellings of one word are equal, with the way back to the characters that the user wrote.

A *cluster* is what a reader takes for one character: a letter with its marks, an emoji with its modifiers, a Korean syllable. Words are
looked for in folded text; a match begins and ends between clusters, and, in scripts that write spaces, between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

Span = tuple[int, int]

_ALIKE = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\u02bb\u02bd\u00b4\u0060\uff07\u05f3", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d\u300e\u300f\u301d\u301e\u301f\uff02\u05f4", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u05be\u2043", "-"),
}
"""Marks that look alike and are typed for one another."""

_BREAKS = "\u200b\u200c"
"""Zero-width: a place to break (Thai, Khmer), and a non-joiner, which stands before suffixes (Persian)."""

_IGNORED = frozenset(
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u061c\u180e\u034f\u0640"
    + "".join(map(chr, range(0x202A, 0x202F)))
    + "".join(map(chr, range(0x2066, 0x206A)))
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
"""Characters without a shape of their own: joiners, directions, variation selectors, the Arabic stretch."""

_VOWEL_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]"
)
"""Points of Hebrew and Arabic, which are written or left out."""

_LOOSE = str.maketrans(
    {
        "\u0131": "i",
        "-": " ",
        "\u0451": "\u0435",
        "\u0649": "\u064a",
        "\u0629": "\u0647",
        "\u0623": "\u0627",
        "\u0625": "\u0627",
        "\u0622": "\u0627",
        "\u06a9": "\u0643",
        "\u06cc": "\u064a",
    }
)
"""Letters that one writer distinguishes and another does not, and the hyphen beside the space."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u0f00-\u0fff\u1980-\u19df\u1a20-\u1aaf\u2e80-\u2fdf\u3005-\u3007\u3021-\u30ff\u3100-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua980-\ua9df\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af]"
)
"""Scripts that write no spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan and others."""

_HANGUL = re.compile("[\uac00-\ud7a3]")
_PARTICLES = (
    *("에서는", "으로서", "으로써", "이라도"),
    *(
        "에서",
        "에게",
        "에는",
        "에도",
        "께서",
        "으로",
        "로서",
        "로써",
        "이랑",
        "하고",
        "한테",
        "부터",
        "까지",
        "보다",
        "처럼",
        "같이",
        "마다",
        "조차",
        "마저",
    ),
    *("밖에", "이나", "이며", "든지", "라도", "이여", "이고", "이다", "대로", "만큼", "커녕", "이란"),
    *(
        "은",
        "는",
        "이",
        "가",
        "을",
        "를",
        "과",
        "와",
        "의",
        "에",
        "께",
        "도",
        "만",
        "로",
        "랑",
        "나",
        "며",
        "야",
        "아",
        "여",
        "인",
        "고",
        "다",
        "뿐",
        "란",
    ),
)
PARTICLES = f"(?:들)?(?:{'|'.join(_PARTICLES)}){{0,2}}"
"""What may be written together with a Korean noun."""

_EMOJI = re.compile("[\u2190-\u2bff\u3030\u303d\u3297\u3299\u00a9\u00ae\U0001f000-\U0001faff]")
_MODIFIER = re.compile("[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u20e3]")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")


@dataclass(frozen=True)
class Folded:
    """A text as it is compared.

    Attributes:
        text: folded.
        spans: of each of its characters, the cluster of the original that it comes from.
        edges: len(text) + 1 bools: whether a cluster begins there (or the text ends).
        breaks: len(text) + 1 bools: whether a zero-width break stands there.
    """

    text: str
    spans: tuple[Span, ...]
    edges: tuple[bool, ...]
    breaks: tuple[bool, ...]

    def find(self, words: list[str], rest: str = "") -> list[tuple[Span, bool]]:
        """Where words stand one after another: characters of the original, and whether both ends are between words for certain (in a script
        without spaces they may not be).

        Args:
            words: folded alike.
            rest: pattern of what may follow within the word.
        """
        pattern = " ".join(re.escape(word) for word in words)
        found: list[tuple[Span, bool]] = []
        for match in re.finditer(f"(?={pattern})", self.text) if pattern else ():
            start, end = match.start(), match.start() + sum(map(len, words)) + len(words) - 1
            if found and self.spans[start][0] < found[-1][0][1]:
                continue
            left, right = self._between(start), self._between(end)
            if not right and rest:
                after = re.compile(rest).match(self.text, end)
                right = 1 if after is not None and after.end() > end and self.edges[end] and self._between(after.end()) else 0
            if left and right:
                found.append(((self.spans[start][0], self.spans[end - 1][1]), left + right == 4))
        return found

    def _between(self, at: int) -> int:
        """2 where a word begins or ends at a place for certain, 1 where it may, 0 where it cannot."""
        if not self.edges[at]:
            return 0
        if at in (0, len(self.text)):
            return 2
        before, after = self.text[at - 1], self.text[at]
        if not (is_word(before) and is_word(after)):
            return 2
        one, other = bool(_UNSPACED.match(before)), bool(_UNSPACED.match(after))
        if one and other:
            return 2 if self.breaks[at] or _kana(before) != _kana(after) else 1
        if one or other:
            return 2
        alphabetic = any(unicodedata.name(c, "").startswith(("LATIN", "GREEK", "CYRILLIC", "DIGIT")) for c in (before, after))
        return 1 if self.breaks[at] and not alphabetic else 0


def fold(text: str, loose: bool = False) -> Folded:
    """A text without differences of case, width, composition, apostrophes, dashes, spaces and invisible characters; if `loose`, without
    vowel points, dots of i, and with hyphens as spaces as well."""
    folded: list[str] = []
    spans: list[Span] = []
    edges: list[bool] = []
    broken: set[int] = set()
    for start, end in clusters(text):
        cluster = text[start:end]
        said = _folded(cluster, loose)
        if not said:
            if cluster[0] in _BREAKS:
                broken.add(len(folded))
            continue
        if cluster[-1] in _BREAKS:
            broken.add(len(folded) + len(said))
        if said == " " and folded and folded[-1] == " ":
            spans[-1] = (spans[-1][0], end)
            continue
        folded += said
        spans += [(start, end)] * len(said)
        edges += [True] + [False] * (len(said) - 1)
    return Folded("".join(folded), tuple(spans), (*edges, True), tuple(i in broken for i in range(len(folded) + 1)))


def words_of(phrase: str, loose: bool = False) -> list[str]:
    """Folded words of a phrase; if `loose`, without punctuation around them."""
    words = fold(phrase, loose).text.split()
    return [kept for word in words if (kept := _stripped(word))] if loose else words


def _stripped(word: str) -> str:
    kept = [i for i, c in enumerate(word) if is_word(c) or unicodedata.category(c).startswith("S")]
    return word[kept[0] : kept[-1] + 1] if kept else ""


def _folded(cluster: str, loose: bool) -> str:
    bare = "".join(_ALIKE.get(c, c) for c in cluster if c not in _IGNORED)
    if bare.isspace() or (loose and cluster == "\u200b"):
        return " "
    if loose:
        bare = _VOWEL_POINTS.sub("", unicodedata.normalize("NFKD", bare) if _VOWEL_POINTS.search(bare) else bare)
    bare = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).casefold())
    said = "".join(_ALIKE.get(c, c) for c in bare)
    return said.replace("i\u0307", "i").translate(_LOOSE) if loose else said


def clusters(text: str) -> Iterator[Span]:
    """(start, end) of each cluster, which cover the text."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _joined(text, start, at):
            if start < at:
                yield start, at
            start = at


def _joined(text: str, start: int, at: int) -> bool:
    """Whether the character at a place belongs to the cluster that begins at `start`."""
    before, here = text[at - 1], text[at]
    if unicodedata.category(here).startswith("M") or here in "\u200d\uff9e\uff9f" or _MODIFIER.match(here):
        return not text[start].isspace()
    if before == "\u200d":
        return bool(_EMOJI.match(here)) or (at >= 2 and unicodedata.combining(text[at - 2]) == 9 and unicodedata.category(here) == "Lo")
    if unicodedata.combining(before) == 9 and unicodedata.category(here) == "Lo" and before != "\u0e3a":
        return True  # a conjunct of an Indian script
    if _FLAG.match(here) and _FLAG.match(before):
        return (at - start) % 2 == 1
    code, last = ord(here), ord(before)
    vowel, final = 0x1160 <= code <= 0x11A7, 0x11A8 <= code <= 0x11FF
    syllable = 0xAC00 <= last <= 0xD7A3
    return (vowel and 0x1100 <= last <= 0x115F) or (final and (0x1160 <= last <= 0x11A7 or (syllable and (last - 0xAC00) % 28 == 0)))


def is_word(c: str) -> bool:
    """Whether a character is part of words: letters, digits, the marks on them, underscores."""
    return c.isalnum() or unicodedata.category(c).startswith("M") or unicodedata.category(c) == "Pc"


def has_hangul(word: str) -> bool:
    """Whether a word is Korean, or ends so."""
    return bool(word) and bool(_HANGUL.match(word[-1]))


def without_particle(word: str) -> list[str]:
    """A Korean noun without what may be written together with it, the longest first to go; nothing for other words."""
    if not has_hangul(word):
        return []
    endings = [*_PARTICLES, "들"]
    return [word[: -len(one)] for one in sorted(endings, key=len, reverse=True) if word.endswith(one) and len(word) > len(one)]


def _kana(c: str) -> str:
    """The script of a character among those without spaces."""
    code = ord(c)
    return "hiragana" if 0x3041 <= code <= 0x309F else "katakana" if 0x30A0 <= code <= 0x30FF else "other"
