"""The pages of the checkout, and the parts of Markdown the tests of this folder look at."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
README = CHECKOUT / "README.md"
REFERENCE = DOCS / "reference"
TUTORIAL = DOCS / "tutorial" / "first-fabric.md"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the word after the fence, and its lines."""

    language: str
    text: str


def pages() -> list[Path]:
    """Every page a reader can open."""
    return [README, CHECKOUT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(found[1], found[2]) for found in _FENCE.finditer(page.read_text("utf-8"))]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every table row; a bar inside code is no border."""
    for line in prose(page).splitlines():
        if line.startswith("| "):
            yield [
                cell.strip() for cell in re.split(r"(?<!\\)\|(?=[^`]*(?:`[^`]*`[^`]*)*$)", line)
            ][1:-1]


def anchor(heading: str) -> str:
    """How a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
