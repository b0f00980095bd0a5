"""What alerts and the dashboard are made of is there to be read from the processes, under the names they use."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.fault_environment import fault_environment
from tests.support.processes import free_port
from tests.support.programs import machine_program
from tests.support.waiting import until

CHECKOUT = Path(__file__).parents[2]
RULES = CHECKOUT / "deploy" / "prometheus" / "clarion.rules.yml"
DASHBOARD = CHECKOUT / "deploy" / "grafana" / "clarion.json"
PAGE = CHECKOUT / "deploy" / "README.md"
CASES = CHECKOUT / "tests" / "deploy" / "clarion.rules.test.yml"
NAME = re.compile(r"\b(?:clarion|process)_[a-z_]+\b")
FAMILY = re.compile(r"^# TYPE (\S+) (\w+)$", re.MULTILINE)
OF_TYPE = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def alerts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]
    ]
    return found


def expressions() -> list[str]:
    """Of all alerts and panels."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [alert["expr"] for alert in alerts()] + [
        target["expr"] for panel in panels for target in panel.get("targets", ())
    ]


def samples(exposition: str) -> set[str]:
    """Names that such figures have, also of those that have counted nothing yet."""
    return {name + ending for name, type_ in FAMILY.findall(exposition) for ending in OF_TYPE.get(type_, ("",))}


def check(*what: str, given: str | None = None) -> tuple[int, str]:
    """Exit status of promtool, and what it has to say."""
    command = [str(machine_program("promtool")), "check", *what]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_every_figure_that_alerts_and_dashboard_name_is_one_of_a_process(settings: Settings) -> None:
    """And is in Prometheus's best form; a send is among what they have counted."""
    port = free_port()
    async with fault_environment(settings, students=20) as there:
        await there.running.api()
        await there.running.worker(CLARION_WORKER_PORT=str(port), CLARION_SWEEP_INTERVAL="0.2")

        async def worker() -> str:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                return await answer.text()

        async def is_measured() -> bool:
            return "clarion_last_inbox_seconds_count 1.0" in await worker()

        await there.send(there.bulk())
        await until(is_measured)
        expositions = [await there.teacher.metrics(), await worker()]
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()

    assert 'clarion_day_in_time_ratio{day="today"} 1.0' in expositions[1]
    assert 'clarion_day_recipients{day="today"} 20.0' in expositions[1]
    assert 'clarion_statement_seconds_count{statement="deliver"}' in expositions[1]
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(used) > 30
    assert used - samples(expositions[0]) - samples(expositions[1]) == set()
    for exposition in expositions:
        assert check("metrics", given=exposition) == (0, "")


def test_each_alert_has_a_runbook() -> None:
    headings = re.findall(r"^#+ (Clarion\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    runbooks = {alert["alert"]: alert["annotations"]["runbook"] for alert in alerts()}

    assert runbooks == {name: f"deploy/README.md#{name.lower()}" for name in headings}


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    well, ill = (
        {case["alertname"]: bool(case.get("exp_alerts")) for case in test["alert_rule_test"]}
        for test in yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    )
    names = {alert["alert"] for alert in alerts()}

    assert well == dict.fromkeys(names, False)
    assert ill == dict.fromkeys(names, True)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    done = subprocess.run(
        [machine_program("promtool"), "test", "rules", CASES], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_for_prometheus_is_one() -> None:
    example = RULES.with_name("prometheus.yml")
    status, said = check("config", str(example))  # with the rules that it names

    assert status == 0, said
    jobs = {job["job_name"] for job in yaml.safe_load(example.read_text("utf-8"))["scrape_configs"]}
    named = set(re.findall(r'job=~"([^"]+)"', " ".join(alert["expr"] for alert in alerts())))
    assert named == {"|".join(sorted(jobs))}


def test_what_the_dashboard_asks_is_what_prometheus_understands(tmp_path: Path) -> None:
    """Checked as rules, which no dashboard is."""
    asked = [each.replace("$__rate_interval", "5m") for each in expressions()]
    rules = [{"record": f"asked:{number}", "expr": each} for number, each in enumerate(asked)]
    path = tmp_path / "asked.rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}), "utf-8")

    status, said = check("rules", str(path))

    assert status == 0, said


def test_no_two_panels_share_a_place_or_a_number() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)
