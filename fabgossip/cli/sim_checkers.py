"""What each checker of the simulator means, from the tables that open the modules with checkers."""

from collections.abc import Iterable

from fabgossip.sim.judges import JUDGES


def checker_titles() -> dict[str, str]:
    """What each promises, in order of kind and number; one may have a row in several tables."""
    titles: dict[str, str] = {}
    for text in (one.__doc__ for one in JUDGES):
        about = ""
        for cells in _rows(text or ""):
            if cells[1] == "id":
                about = cells[2].removesuffix("...").strip()
            elif cells[1] in titles:
                titles[cells[1]] += f"; {cells[2]}"
            elif cells[1][1:].isdigit():
                titles[cells[1]] = f"{_subject(about, cells[2])}{cells[2]}"
    return {name: titles[name] for name in in_order(titles)}


def _subject(about: str, title: str) -> str:
    """What a sentence lacks, where the heading of its column begins it: what is of the network or
    of the simulator says so itself."""
    return f"{about} " if about.startswith("an honest node") and title[:1] != "(" else ""


def _rows(text: str) -> Iterable[list[str]]:
    rows = ([cell.strip() for cell in line.split("|")] for line in text.splitlines())
    return (cells for cells in rows if len(cells) == 4)


def in_order(names: Iterable[str]) -> list[str]:
    """Safety before liveness, 2 before 10."""
    return sorted(names, key=lambda name: (name[0] != "S", int(name[1:])))
