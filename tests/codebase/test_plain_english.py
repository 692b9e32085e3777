"""Which words and phrases the texts of the repository do not use: the README, the docs, the examples and the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What to write instead. Both are matched without regard to case, over line ends and over the marks of comments.
ODD = {
    r"(?<!there )\b(?:is|are) no (?!longer\b|more\b|different\b)\w+": "is not a ..., must be ...",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bfor ever\b": "permanently, without limit",
    r"\bfor good\b": "permanently",
    r"\bbesides\b": "also, in addition",
    r"\bsuch that\b": "so that, which",
    r"\bgiv\w* (?:the |its )?\w+ free\b": "release",
    r"\blet(?:s|ting)? (?:(?:it|them|everybody|her|him) )?go\b": "release",
    r"\b(?:tak|com|bring)(?:e|es|en|s|ing) (?:\w+ )?along\b": "is lost too, is included, installs",
    r"\bturns? to the next\b": "switches to the next",
    r"\bloads? (?:itself )?again\b": "reloads",
    r"\ball the same\b": "still",
    r"\bin vain\b": "without success; say what is missing",
    r"(?<!as )(?<!are )(?<!to )(?<!long )\bdoubles\b": "duplicates; is stored twice",
    r"\bdoubled\b": "stored twice",
    r"\bwho does not\b": "name them: clients that do not",
    r"(?<!`)(?<!USER )\bnobody\b(?!`)": "no one; name them: no client, no viewer",  # not the user of that name
    r"\banew\b": "again",
    r"\bthe like\b": "similar, and others",
    r"\bunless told otherwise\b": "by default",
    r"\b(?:go(?:es|ing)?|went) on\b": "continue",
    r"\bsigns? of life\b": "heartbeat",
    r"\blooks? after\b": "manages, watches",
    r"\bheld[ -]out\b": "validation set",
}
PATTERN = re.compile("|".join(f"(?P<odd{i}>{pattern})" for i, pattern in enumerate(ODD)), re.IGNORECASE)
# Line ends with what stands at the beginning of the next line of a comment or a list.
BREAK = re.compile(r"[ \t]*\n[ \t]*(?:#+|//|\*)?[ \t]*")

SUFFIXES = {".md", ".py", ".sh", ".js", ".html", ".css"}


def texts() -> list[Path]:
    """The files whose words are looked at."""
    places = [ROOT / "docs", ROOT / "examples", ROOT / "src", ROOT / ".github"]
    found = [path for place in places for path in place.rglob("*") if path.suffix in SUFFIXES]
    return sorted([*ROOT.glob("*.md"), *(path for path in found if "libraries" not in path.parts)])


def odd_in(text: str) -> list[str]:
    """Each odd phrase in a text, as "line: phrase (what to write)"."""
    # Spaces in place of line ends keep phrases together; offsets say which line it was.
    flat, lines, at, line = [], [], 0, 1
    for match in [*BREAK.finditer(text), None]:
        end = match.start() if match else len(text)
        flat.append(text[at:end] + " ")
        lines += [line] * (end - at + 1)
        if match:
            at, line = match.end(), line + match[0].count("\n")
    found = PATTERN.finditer("".join(flat))
    better = list(ODD.values())
    return [f"{lines[match.start()]}: {match[0]!r} ({better[int(match.lastgroup[3:])]})" for match in found]


def test_texts_are_in_plain_english():
    faults = [f"{path.relative_to(ROOT)}:{fault}" for path in texts() for fault in odd_in(path.read_text())]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "text",
    [
        "0.5 (float) is no step",
        "Mend the script",
        "kept for ever",
        "# and nothing is\n    # let go here",
        "what a kill takes\nalong",
        "The page loads itself again.",
        "turns to the next run",
        "Who does not keep to it is served all the same.",
        "protects from doubles",
        "waited in vain",
        "Give the folder free.",
    ],
)
def test_an_odd_phrase_is_seen(text):
    assert odd_in(text)


@pytest.mark.parametrize(
    "text", ["There is no run.", "numbers as doubles", "There are\nno files", "is no longer there", "along the axis", "let us go"]
)
def test_a_plain_phrase_is_not(text):
    assert not odd_in(text)


def test_the_line_of_a_phrase_is_named():
    assert odd_in("one\ntwo\n# three, and it goes\n# on\n") == ["3: 'goes on' (continue)"]
