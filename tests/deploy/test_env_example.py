"""deploy/env.example is the whole list of settings."""

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from service.runtime.settings import Settings

_EXAMPLE = Path(__file__).parents[2] / "deploy" / "env.example"
_OF_THE_CLIENT = {"CLARION_URL", "CLARION_TOKEN"}


def _shown() -> dict[str, str]:
    return dict(re.findall(r"^(CLARION_\w+)=(.*)$", _EXAMPLE.read_text("utf-8"), re.MULTILINE))


def test_every_setting_is_listed_with_its_default() -> None:
    defaults = {
        f"CLARION_{name.upper()}": "" if field.default in (PydanticUndefined, None) else str(field.default)
        for name, field in Settings.model_fields.items()
    }

    assert {name: value for name, value in _shown().items() if name not in _OF_THE_CLIENT} == defaults


def test_every_variable_has_its_meaning_above_it() -> None:
    paragraphs = re.split(r"\n(?=#)", _EXAMPLE.read_text("utf-8"))

    explained = {name for p in paragraphs if p.startswith("# ") for name in re.findall(r"^(CLARION_\w+)=", p, re.M)}

    assert explained == set(_shown())
