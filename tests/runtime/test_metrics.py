"""Figures are where they are counted, and the operators' table has every one of them."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.runtime.metrics import ProcessKind, exposition

PAGE = Path(__file__).parents[2] / "deploy" / "README.md"
ROW = re.compile(r"^\| `(clarion_[a-z_]+)(?:\{[a-z, ]+\})?` \| (api, worker|api|worker) \|", re.MULTILINE)


def exposed(process: ProcessKind) -> set[str]:
    """Names of Clarion's own figures as such a process answers with them."""
    families = text_string_to_metric_families(exposition(process).decode())
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    return {name for name in names if name.startswith("clarion_") and not name.endswith("_created")}


def test_the_operators_table_says_which_process_has_which_figure() -> None:
    documented = ROW.findall(PAGE.read_text("utf-8"))

    for process in ("api", "worker"):
        assert {name for name, where in documented if process in where.split(", ")} == exposed(process)


def test_every_process_says_what_it_costs() -> None:
    assert all(b"process_resident_memory_bytes" in exposition(process) for process in ("api", "worker"))
