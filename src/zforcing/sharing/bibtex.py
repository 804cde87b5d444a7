"""Works to cite, as the classes that use them write them in a line, and as entries of BibTeX.

A line is `authors, "title", where and when, arXiv NUMBER`, of which all but the title may be missing:

    A. Goyal, M.-A. Côté, "Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017, arXiv 1711.05411
    S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997
    C. Maddison et al., "Filtering Variational Objectives", NIPS 2017

What follows no such form is cited as it stands. Several works in one line are apart by a semicolon and a space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BETWEEN = re.compile(r';\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')  # of works; no semicolon within a title
LINE = re.compile(r'(?:(?P<authors>[^"]+?),\s+)?"(?P<title>[^"]+)"(?:,\s+(?P<rest>.+))?', re.DOTALL)
PARTS = (  # of what stands behind the title: each names its fields
    re.compile(r"arXiv:? ?(?P<eprint>\d{4}\.\d{4,5}|[a-z-]+/\d{7})"),
    re.compile(r"(?P<url>https?://[^\s{}\\]+)"),
    re.compile(r"(?P<year>(?:1[89]|20)\d\d)"),
    re.compile(r"(?P<journal>.+?) (?P<volume>\d+)\((?P<number>[\d-]+)\)"),
    re.compile(r"(?P<booktitle>.+?) (?P<year>(?:1[89]|20)\d\d)"),
    re.compile(r"(?P<journal>JMLR|Neural Computation)"),  # where no volume says that it is one
)
GROUP = "The "  # begins the name of one: it has no first name
SMALL = {"a", "an", "and", "for", "in", "of", "on", "the", "to", "with"}
ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328", "`'^~=u.\"rHvck", strict=True)
)
LETTERS = {
    "ø": r"{\o}",
    "Ø": r"{\O}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
    "œ": r"{\oe}",
    "ł": r"{\l}",
    "Ł": r"{\L}",
    "ß": r"{\ss}",
}
SPECIAL = {char: f"\\{char}" for char in "&%$#_"}
SPECIAL |= {"{": "(", "}": ")", "\\": "/", "~": r"{\textasciitilde}", "^": r"{\textasciicircum}", "–": "--", "—": "---"}


@dataclass(frozen=True)
class Work:
    """What is cited: an entry's kind, its fields as plain text, and who wrote it.

    kind:    article, inproceedings or misc
    authors: a name each; "others" as the last one stands for those that aren't named
    fields:  title, year, booktitle and so on
    """

    kind: str
    authors: tuple[str, ...]
    fields: Mapping[str, str]

    @property
    def identity(self) -> str:
        """The same for one work, however its title is written."""
        fields = self.fields
        return fields.get("eprint") or plain(
            f"{fields.get('title', '')}{fields.get('note', '')}{fields.get('year', '')}"
        )

    @property
    def stem(self) -> str:
        """The beginning of a key: goyal2017zforcing."""
        person = next((name for name in self.authors[:1] if not name.startswith(GROUP)), None)
        surname = plain(person.split()[-1]) if person else ""
        words = [plain(word) for word in self.fields.get("title", self.fields.get("note", "")).split()]
        word = next((word for word in words if word and word not in SMALL), "")
        return f"{surname}{self.fields.get('year', '')}{word}" or "work"


def read_works(line: str) -> list[Work]:
    """The works in a line."""
    return [_read(part.strip()) for part in BETWEEN.split(" ".join(line.split())) if part.strip()]


def _read(line: str) -> Work:
    found = LINE.fullmatch(line)
    if found is None:
        return Work("misc", (), {"note": line})
    fields = {"title": found["title"]}
    for part in (found["rest"] or "").split(", ") if found["rest"] else []:
        fields |= _fields(part)
    kind = "article" if "journal" in fields else "inproceedings" if "booktitle" in fields else "misc"
    return Work(kind, _names(found["authors"] or ""), fields)


def _fields(part: str) -> dict[str, str]:
    """What a part of a line says; of one of no known form that it was published there."""
    matches = (form.fullmatch(part) for form in PARTS)
    return next((match.groupdict() for match in matches if match), {"howpublished": part})


def _names(authors: str) -> tuple[str, ...]:
    named = authors.removesuffix(" et al.")
    names = tuple(name.strip() for name in named.split(",") if name.strip())
    return names if named == authors else (*names, "others")


def with_keys(works: Iterable[Work]) -> dict[str, Work]:
    """The works by key; of one key, the second is called b."""
    keyed: dict[str, Work] = {}
    for work in works:
        ends = ["", *"bcdefghijklmnopqrstuvwxyz"]
        keyed[next(key for end in ends if (key := work.stem + end) not in keyed)] = work
    return keyed


def entry(key: str, work: Work) -> str:
    """An entry of BibTeX, in ASCII where its text is Latin."""
    fields = {"author": " and ".join(map(_name, work.authors))} if work.authors else {}
    for name, value in work.fields.items():
        raw = name in ("eprint", "url")
        fields[name] = value if raw else in_braces(value) if name == "title" else latex(value)
    if "eprint" in fields:
        fields["archiveprefix"] = "arXiv"
    lines = [f"  {name:<13} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{work.kind}{{{key},", *lines, "}"])


def _name(name: str) -> str:
    """As it is; in braces where it is that of a group."""
    return f"{{{latex(name)}}}" if name.startswith(GROUP) else latex(name)


def in_braces(title: str) -> str:
    """A title in LaTeX, with braces around words that styles may not put into small letters: Z-Forcing, music21."""
    first, *others = title.split()
    in_title_case = sum(word[0].isupper() for word in others) > len(others) / 2
    kept = [_has_inner(first) or first[0].islower()]
    kept += [_has_inner(word) or (word[0].isupper() and not in_title_case) for word in others]  # else it's a name
    words = zip([first, *others], kept, strict=True)
    return " ".join(_braced(word) if keep else latex(word) for word, keep in words)


def _braced(word: str) -> str:
    """A word in braces, which the comma or colon after it stays out of."""
    core = word.rstrip(",:;.")
    return f"{{{latex(core)}}}{latex(word[len(core) :])}"


def _has_inner(word: str) -> bool:
    """Whether a word has a capital that isn't its first letter."""
    return any(char.isupper() for char in word[1:])


def latex(text: str) -> str:
    """Text with the accents of LaTeX, and its special characters escaped."""
    return "".join(_character(char) for char in unicodedata.normalize("NFC", text))


def _character(char: str) -> str:
    if char in SPECIAL or char in LETTERS:
        return SPECIAL.get(char) or LETTERS[char]
    parts = unicodedata.normalize("NFD", char)
    if len(parts) != 2 or parts[1] not in ACCENTS:
        return char
    letter, command = parts[0], ACCENTS[parts[1]]
    letter = f"\\{letter}" if letter in "ij" else letter  # without their dots
    return f"{{\\{command}{{{letter}}}}}" if command.isalpha() else f"{{\\{command}{letter}}}"


def plain(text: str) -> str:
    """Small letters without accents, and digits alone."""
    folded = unicodedata.normalize("NFKD", text.translate(str.maketrans("øØłŁ", "oOlL"))).lower()
    return re.sub(r"[^a-z0-9]", "", folded)
