"""Rows of the files of a snapshot (CONTRACT 5.1), as far as the service keeps them. Blank cells are absent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from service.contracts.wording import worded


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


# In the key of an enrolment, which stands in an index, there are up to four.
SisId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
SisIds = Annotated[tuple[SisId, ...], BeforeValidator(_split)]
AnyCase = BeforeValidator(_lower)


class MalformedRow(Exception):
    """A row that cannot be understood; the message is one line and names the column at fault."""


class SnapshotRow(BaseModel):
    """What every row is: its known columns, by their names in lower case."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class FileForm:
    """One kind of file. It is known by the columns it cannot do without.

    Where the model is SnapshotRow itself, nothing of the file is kept.
    """

    name: str
    columns: frozenset[str]
    model: type[SnapshotRow]

    def parse(self, cells: Mapping[str, str]) -> SnapshotRow:
        """One row of its cells that are not blank. Raises MalformedRow."""
        try:
            return self.model.model_validate(cells)
        except ValidationError as error:
            raise MalformedRow(worded(error).replace("body: ", "")) from None


def lacks(columns: str) -> PydanticCustomError:
    """The fault of a row that has none of several columns."""
    return PydanticCustomError("value_error", "{error}", {"error": f"{columns} is missing"})
