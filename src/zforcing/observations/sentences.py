"""Raw text into sentences, and sentences into words: a few rules, for English, without a trained model.

The IMDB sentences of Z-Forcing were made by NLTK: punkt for the sentences, word_tokenize for the words. What differs
here: abbreviations are a list (punkt learns them from text); text is cut before it is put into lower case; double
quotes stay " (there they become `` and '') and curly ones become straight; cannot and gonna stay one word.
Contractions and possessives are cut as there: do n't, it 's.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Unicode = Literal["keep", "nfc", "nfkc"]
"""Which of several spellings in Unicode a text is read in: as it is; composed, in which an accent is a part of its
letter (NFC); or composed with ligatures, wide letters and the like made plain (NFKC)."""
PARAGRAPH = re.compile(r"<br\s*/?>|\n\s*\n", re.IGNORECASE)  # a review's <br /> ends a sentence as an empty line does
STOP = re.compile(r"(?<![.!?…])([.!?…]++)([\"')\]]*+) (?=\S)")  # a run of stops is looked at once
OPENING = "\"'(["
STRAIGHT = str.maketrans("‘’“”", "''\"\"")
# Without their last period. A sentence never ends at the first ones, and at the second ones if a capital follows.
INSIDE = re.compile(
    r"mr|mrs|ms|messrs|dr|prof|rev|hon|st|mt|gen|col|maj|capt|lt|sgt|sen|rep|gov|pres|vol|vs|v|e\.g|i\.e|cf|approx"
)
PERHAPS_LAST = re.compile(r"etc|jr|sr|inc|co|corp|ltd|bros|ave|blvd|ph\.d|[a-z](\.[a-z])+")  # u.s, a.m, j.r.r
SIGNS = r"?!;@#$%&()\[\]{}<>\",:'.`…\-"  # what is no part of a word, but for the cases below
CLITIC = r"'(?:s|m|d|ll|re|ve)\b"
TOKEN = re.compile(
    rf"""
    \.{{2,}} | -{{2,}}                    # an ellipsis, a dash
    | [^\W\d_]+(?=n't\b) | n't\b          # do n't
    | (?<=\w){CLITIC}                     # it 's
    | (?:
        [^\s{SIGNS}]
        | -(?!-)                          # well-made
        | (?<=\d)[,:](?=\d)               # 1,000 and 8:30
        | \.(?=[^\W_])                    # 3.5 and u.s
        | (?<=\w)(?!{CLITIC})'(?=\w)      # o'clock
      )+
      (?: \.(?!\.|[\s"')\]]*\Z) )?        # mr. keeps its period, the sentence's last word doesn't
    | \S                                  # any other sign by itself
    """,
    re.IGNORECASE | re.VERBOSE,
)


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences, each on one line.

    One ends at . ! ? and what closes quotes and brackets behind them, before white space; not after an abbreviation or
    an initial, and behind an ellipsis only if a capital follows. Paragraphs (empty lines, <br />) end one too.
    """
    sentences = []
    for paragraph in PARAGRAPH.split(text.translate(STRAIGHT)):
        line, begin = " ".join(paragraph.split()), 0
        for stop in STOP.finditer(line):
            if _ends(line, stop, begin):
                sentences.append(line[begin : stop.end() - 1])
                begin = stop.end()
        if begin < len(line):
            sentences.append(line[begin:])
    return sentences


def _ends(line: str, stop: re.Match[str], begin: int) -> bool:
    """Whether a sentence that began at `begin` ends at this stop."""
    sign = stop[1]
    after = line[stop.end() : stop.end() + 3].lstrip(OPENING)[:1]
    if stop[2] and after.islower():  # "What?" he said.
        return False
    if "!" in sign or "?" in sign:
        return True
    if len(sign) > 1 or sign == "…":
        return after.isupper()
    word = line[max(begin, line.rfind(" ", 0, stop.start()) + 1) : stop.start()].lstrip(OPENING).lower()
    if (
        INSIDE.fullmatch(word)
        or (len(word) == 1 and word.isalpha() and word != "i")
        or (word == "no" and after.isdigit())
    ):
        return False
    return after.isupper() or not PERHAPS_LAST.fullmatch(word)


def split_words(sentence: str) -> list[str]:
    """Split a sentence into words and punctuation.

    "It's well-made, isn't it?" -> It 's well-made , is n't it ?
    """
    return TOKEN.findall(sentence.translate(STRAIGHT))


def prepare(sentence: str, *, tokenize: bool, lowercase: bool, unicode: Unicode = "keep") -> str:
    """Prepare a line for tokenization: in one spelling, words separated by spaces, in lower case, as asked for.

    It may hold several sentences: the last word of each is cut from its period.
    """
    one = spelled(sentence, unicode)
    cut = " ".join(word for part in split_sentences(one) for word in split_words(part)) if tokenize else one
    return spelled(cut.lower(), unicode) if lowercase else cut  # of some letters the small ones are spelled otherwise


def spelled(text: str, unicode: Unicode) -> str:
    """The text in one of the spellings that Unicode has for it: words that look alike are the same word then."""
    match unicode:
        case "nfc":
            return unicodedata.normalize("NFC", text)
        case "nfkc":
            return unicodedata.normalize("NFKC", text)
        case _:
            return text
