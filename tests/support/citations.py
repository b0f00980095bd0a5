"""Citations of the rule books in service/contracts, and whether they lead anywhere.

service/contracts/README.md says how a citation is written. Whatever else names a rule book is a fault.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "service" / "contracts"
PROMISES = CONTRACTS / "CONTRACT.md"
BOOKS = {path.name: path for path in sorted((CONTRACTS / "canvas").glob("*.md"))}

_GAP = r"(?:[ ]+|[ ]*\n[ ]*(?:\#|--)?[ ]*)"  # a citation may go on in the next line of a comment
_JOIN = rf"(?:,?{_GAP}(?:and|to){_GAP}|,{_GAP})"
_ITEM = r"\d+[a-z]?(?![\w]|\.\d)"
_ITEMS = rf"{_ITEM}(?:{_JOIN}{_ITEM})*"
_STEPS = rf"(?:steps?|checks?){_GAP}"
_PLACE = rf"\d+(?:\.\d+)*(?:{_GAP}(?:[a-z]+{_GAP})?{_STEPS}{_ITEMS})?"

_MENTION = re.compile(r"(?P<path>[\w./-]*\w\.md\b)|(?<![\w./-])CONTRACT\b(?!\|)")
_CITED = re.compile(rf"{_GAP}(?P<places>{_PLACE}(?:{_JOIN}{_PLACE})*)")
_ONE_PLACE = re.compile(
    rf"(?P<section>\d+(?:\.\d+)*)(?:{_GAP}(?:(?P<list>[a-z]+){_GAP})?{_STEPS}(?P<items>{_ITEMS}))?(?:{_JOIN}|$)"
)
_LEFT_OVER = re.compile(r"[^.;:()|\n]{0,40}?(?<![\w.])\d")
_BARE_ITEMS = re.compile(rf"\b(?i:{_STEPS})(?P<items>{_ITEMS})")
_OWN_SECTION = re.compile(r"\bsections? (\d+(?:\.\d+)*)")
_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s#]*)(?:#(?P<anchor>[\w-]+))?\)")
_HEADING = re.compile(r"(?:\#+ (?P<heading>\d+(?:\.\d+)*)\.? |(?P<paragraph>\d+(?:\.\d+){2,}) )")
_LISTED = re.compile(r"(?P<number>\d+)\. |[ ]+(?P<letter>[a-z])\. ")

_READ = {".py", ".sql", ".md", ".toml", ".example", ".txt", ".html", ".js", ".css"}
_GRAMMAR = {Path(__file__), ROOT / "tests" / "contracts" / "test_citations.py"}  # they show what is none


@dataclass(frozen=True, slots=True)
class Numbered:
    """A numbered list: what its introduction calls it, and its items (``5``, ``5a``)."""

    name: str
    items: set[str]


Sections = dict[str, list[Numbered]]


@cache
def sections(book: Path) -> Sections:
    """The sections of a rule book by number, each with its numbered lists."""
    found: Sections = {}
    lists: list[Numbered] = []
    introduction, paragraph, last = "", "", 0
    for line in book.read_text().splitlines():
        if heading := _HEADING.match(line):
            lists = found[heading["heading"] or heading["paragraph"]] = []
            introduction, last = "", 0
        elif (item := _LISTED.match(line)) and (item["letter"] or int(item["number"]) in {1, last + 1}):
            if item["number"] == "1":
                lists.append(Numbered(re.split(r"[(,.;:]", introduction)[0].lower(), set()))
            last = int(item["number"] or last)
            if lists and last:
                lists[-1].items.add(f"{last}{item['letter'] or ''}")
        elif line.strip():
            introduction = line if not paragraph.strip() else introduction
        paragraph = line
    return found


@cache
def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files() -> Iterator[Path]:
    """Every file of the repository in which rules may be cited."""
    for top in sorted(ROOT.iterdir()):
        if not top.name.startswith(".") and top.name not in {"build", "dist"}:
            yield from (p for p in ([top] if top.is_file() else sorted(top.rglob("*"))) if _is_read(p))


def _is_read(path: Path) -> bool:
    """Minified files are of others."""
    return path.suffix in _READ and path.is_file() and path not in _GRAMMAR and not path.name.endswith(".min.js")


class Citations:
    """All citations of one text, followed. ``faults``: (line, why); ``cited``: (book, section) of those that hold."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self._path = path
        self._text = path.read_text(errors="replace") if text is None else text
        self.faults: list[tuple[int, str]] = []
        self.cited: set[tuple[Path, str]] = set()
        if path.suffix == ".md":
            self._follow_links()
        self._follow_mentions()
        self._follow_bare_items()
        if self._is_book:
            self._follow_own_sections()

    @property
    def _is_book(self) -> bool:
        return self._path == PROMISES or self._path in BOOKS.values()

    def _fault(self, position: int, why: str) -> None:
        self.faults.append((self._text.count("\n", 0, position) + 1, why))

    def _blank(self, start: int, end: int) -> None:
        kept = "".join("\n" if c == "\n" else " " for c in self._text[start:end])
        self._text = self._text[:start] + kept + self._text[end:]

    def _follow_links(self) -> None:
        for link in list(_LINK.finditer(self._text)):
            if "://" not in link["target"]:
                page = (self._path.parent / link["target"]).resolve() if link["target"] else self._path
                if not page.exists():
                    self._fault(link.start(), f"{link[0]} leads nowhere")
                elif link["anchor"] and link["anchor"] not in _anchors(page):
                    self._fault(link.start(), f"{link[0]}: the page has no such heading")
            self._blank(*link.span())

    def _follow_mentions(self) -> None:
        for mention in list(_MENTION.finditer(self._text)):
            name = mention["path"]
            book = PROMISES if name is None else BOOKS.get(name.rpartition("/")[2])
            if book is not None and name in {None, book.name, f"canvas/{book.name}"}:
                self._follow(mention, book)
            elif not (self._path in BOOKS.values() and book is None) and not self._exists(name):
                self._fault(mention.start(), f"{name} is no file of the repository")

    def _exists(self, name: str) -> bool:
        """Whether another page is there; a rule book, which is cited by section, is none."""
        pages = (ROOT / name, self._path.parent / name)
        return any(page.is_file() and page.resolve() not in {PROMISES, *BOOKS.values()} for page in pages)

    def _follow(self, mention: re.Match[str], book: Path) -> None:
        places = _CITED.match(self._text, mention.end())
        if places is None:
            self._fault(mention.start(), f"{mention[0]} without a section")
            return
        following = _MENTION.search(self._text, places.end())
        end = following.start() if following else len(self._text)
        if _LEFT_OVER.match(self._text[:end], places.end()):
            self._fault(mention.start(), f"{mention[0]}{places[0]} goes on in a way that is no citation")
        for place in _ONE_PLACE.finditer(places["places"]):
            if why := self._why_not(book, place):
                self._fault(mention.start(), f"{mention[0]} {place[0].strip(', ')}: {why}")
        self._blank(mention.start(), places.end())

    def _why_not(self, book: Path, place: re.Match[str]) -> str:
        """What is wrong with a place; empty when it is there."""
        known, section = sections(book), place["section"]
        parent, _, item = section.rpartition(".")
        if section not in known:
            items = known.get(parent, []) if book == PROMISES else []
            if place["items"] or not (len(items) == 1 and item in items[0].items):
                return "there is no such section"
            section = parent
        self.cited.add((book, section))
        if place["items"] is None:
            return ""
        lists = [each for each in known[section] if place["list"] is None or place["list"] in each.name.split()]
        if len(lists) != 1:
            return "the section has several lists: name one" if lists else "the section has no such list"
        missing = set(re.findall(_ITEM, place["items"])) - lists[0].items
        return f"the list has no {', '.join(sorted(missing))}" if missing else ""

    def _follow_bare_items(self) -> None:
        """``step 5a`` alone is of a section that the same file cites, or of a rule book's own."""
        own = [(self._path, section) for section in sections(self._path)] if self._is_book else []
        items = {i for book, section in [*own, *self.cited] for each in sections(book)[section] for i in each.items}
        for bare in _BARE_ITEMS.finditer(self._text):
            if not set(re.findall(_ITEM, bare["items"])) <= items:
                self._fault(bare.start(), f"{bare[0]}: no section that this file cites has it")

    def _follow_own_sections(self) -> None:
        for own in _OWN_SECTION.finditer(self._text):
            if own[1] not in sections(self._path):
                self._fault(own.start(), f"{own[0]}: there is no such section here")


def faults(paths: Sequence[Path]) -> list[str]:
    """``file:line: what is wrong``, for every citation that leads nowhere."""
    return [f"{path.relative_to(ROOT)}:{line}: {why}" for path in paths for line, why in sorted(Citations(path).faults)]
