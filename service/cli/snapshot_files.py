"""The files of a snapshot: in folders, in zips or named one by one, told apart by their header lines (CONTRACT 5.1).

Nothing is unpacked to the disk, and what a file holds is never in memory as a whole.
"""

import csv
import lzma
import stat
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from service.contracts import canvas_sis, oneroster
from service.contracts.snapshot_rows import FileForm, MalformedRow, SnapshotRow

# Far above any real line; a file without line ends must not fill the memory.
MAX_LINE_BYTES = 1 << 20
_ENCRYPTED = 0x1
_ZIP = b"PK\x03\x04"
# NotImplementedError: a way of packing that is not known here.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError)
_FORMS = (*oneroster.FILES, *canvas_sis.FILES)


class BadFile(Exception):
    """A file that cannot be read to its end: its name, or the line, and why not."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


class Candidate(NamedTuple):
    """A file that may belong to a snapshot. ``size``: bytes of its text."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class SnapshotFile:
    """A file that does, and the names of its columns in lower case."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    form: FileForm
    columns: tuple[str, ...]


@dataclass
class Snapshot:
    """All files of a snapshot, in the order in which they are read, and what was found beside them."""

    files: list[SnapshotFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # files that are none of a snapshot
    bad: list[BadFile] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the text of all files."""
        return sum(file.size for file in self.files)

    @property
    def partial(self) -> frozenset[str]:
        """Names of the kinds of files that hold only what has changed, as a manifest of OneRoster says."""
        found = set()
        for file in self.files:
            if file.form is oneroster.MANIFEST:
                for _, row in rows_of(file):
                    if isinstance(row, oneroster.ManifestRow) and row.value.strip().lower() == "delta":
                        found.add(row.propertyname.removeprefix("file."))
        return frozenset(found)


# What others refer to comes first; sections before courses, because by them courses are known that events have brought.
_ORDER: Sequence[type[SnapshotRow]] = (
    oneroster.ManifestRow,
    canvas_sis.TermRow,
    oneroster.AcademicSessionRow,
    canvas_sis.AccountRow,
    oneroster.OrgRow,
    canvas_sis.SectionRow,
    canvas_sis.CourseRow,
    oneroster.CourseRow,
    oneroster.ClassRow,
    canvas_sis.UserRow,
    oneroster.UserRow,
    oneroster.RoleRow,
    canvas_sis.UserObserverRow,
    canvas_sis.AdminRow,
    canvas_sis.GroupRow,
    canvas_sis.GroupMembershipRow,
    canvas_sis.EnrollmentRow,
    oneroster.EnrollmentRow,
)


def snapshot_of(paths: Sequence[str], opened: ExitStack) -> Snapshot:
    """The files behind these paths; zips stay open as long as ``opened``. Raises OSError where a path is none.

    Each file is looked through once: one that is not UTF-8, or is damaged, is bad as a whole.
    """
    found = Snapshot()
    for path in paths:
        for candidate in _candidates(Path(path), opened, found):
            try:
                file = _recognised(candidate)
                if file is None:
                    found.ignored.append(candidate.name)
                    continue
                for _ in _lines(file):
                    pass
                found.files.append(file)
            except BadFile as error:
                found.bad.append(error)
    found.files.sort(key=lambda file: _ORDER.index(file.form.model))
    return found


def _candidates(path: Path, opened: ExitStack, found: Snapshot) -> Iterator[Candidate]:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        for each in sorted(path.rglob("*")):
            if each.is_file() and not any(part.startswith(".") for part in each.relative_to(path).parts):
                yield from _candidates(each, opened, found)
    elif not stat.S_ISREG(mode):  # a pipe is empty when it is read again
        found.bad.append(BadFile(str(path), "is neither a file nor a folder"))
    elif zipfile.is_zipfile(path):
        try:
            archive = opened.enter_context(zipfile.ZipFile(path))
        except _UNREADABLE as error:
            found.bad.append(BadFile(str(path), str(error)))
            return
        for entry in archive.infolist():
            name = f"{path}/{entry.filename}"
            if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
                continue
            if entry.flag_bits & _ENCRYPTED:
                found.bad.append(BadFile(name, "is encrypted"))
                continue
            yield Candidate(name, entry.file_size, partial(archive.open, entry))
    elif _begins_as_zip(path):
        found.bad.append(BadFile(str(path), "is a zip that is damaged or cut off"))
    else:
        yield Candidate(str(path), path.stat().st_size, partial(_open, path))


def _begins_as_zip(path: Path) -> bool:
    """Zips have their contents at the end: one that was cut off has none, and is not to be taken for another file."""
    try:
        with path.open("rb") as stored:
            return stored.read(len(_ZIP)) == _ZIP
    except OSError:
        return False


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _recognised(candidate: Candidate) -> SnapshotFile | None:
    try:
        header = next(csv.reader(_lines(candidate), strict=True), [])
    except (BadFile, csv.Error):
        if candidate.name.lower().endswith(".csv"):
            raise BadFile(candidate.name, "has no header line in UTF-8") from None
        return None
    columns = tuple(name.strip().lower() for name in header)
    form = next((form for form in _FORMS if form.columns.issubset(columns)), None)
    if form is None or form.model is SnapshotRow:
        return None
    return SnapshotFile(candidate.name, candidate.size, candidate.open, form, columns)


def _lines(file: Candidate | SnapshotFile, read: Callable[[int], None] = lambda size: None) -> Iterator[str]:
    """The lines with their ends; ``read`` learns how many bytes each has. Raises BadFile."""
    for number, line in enumerate(_stored_lines(file), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise BadFile(f"{file.name}:{number}", f"is longer than {MAX_LINE_BYTES} bytes")
        read(len(line))
        try:
            yield (line.removeprefix(BOM_UTF8) if number == 1 else line).decode()
        except UnicodeDecodeError:
            raise BadFile(f"{file.name}:{number}", "is not UTF-8; nothing of the file is read") from None


def _stored_lines(file: Candidate | SnapshotFile) -> Iterator[bytes]:
    """As they are stored; of those that are too long the beginning. Raises BadFile for faults of the file alone."""
    try:
        with file.open() as stored:
            while line := stored.readline(MAX_LINE_BYTES + 1):
                yield line
    except _UNREADABLE as error:
        raise BadFile(file.name, f"cannot be read to its end: {error}") from None


def rows_of(
    file: SnapshotFile, read: Callable[[int], None] = lambda size: None
) -> Iterator[tuple[int, SnapshotRow | MalformedRow]]:
    """The rows, each with the number of the line on which it begins. The header is line 1."""
    wanted = frozenset(file.form.model.model_fields)
    places = [(position, name) for position, name in enumerate(file.columns) if name in wanted]
    reader = csv.reader(_lines(file, read), strict=True)
    begin = 0
    while True:
        begin, cells = reader.line_num + 1, None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield begin, MalformedRow(f"is no CSV: {error}")
            continue
        if begin > 1 and any(cells):
            yield begin, _row(file.form, places, len(file.columns), cells)


def _row(form: FileForm, places: Sequence[tuple[int, str]], width: int, cells: list[str]) -> SnapshotRow | MalformedRow:
    if len(cells) > width and any(cells[width:]):
        return MalformedRow(f"has {len(cells)} cells, and the header has {width}")
    cells += [""] * (width - len(cells))
    try:
        return form.parse({name: cell for position, name in places if (cell := cells[position].strip())})
    except MalformedRow as error:
        return error
