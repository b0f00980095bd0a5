"""Completion and the last words of a batch update (canvas/semantics.md 10)."""

import pytest

from service.domain import batch_updates
from service.domain.batch_updates import ProgressState


@pytest.mark.parametrize(
    ("done", "total", "state", "percent"),
    [(0, 8, "queued", 0.0), (4, 8, "running", 50.0), (1, 3, "failed", 100 / 3), (8, 8, "failed", 100.0),
     (0, 0, "queued", 0.0), (0, 0, "failed", 100.0)],
)  # fmt: skip
def test_completion(done: int, total: int, state: str, percent: float) -> None:
    found = batch_updates.completion(done, total, ProgressState(state))
    assert found == percent
    assert isinstance(found, float)


@pytest.mark.parametrize(
    ("total", "refused", "state", "message"),
    [
        (1, [], "completed", "1 conversation processed"),
        (3, [], "completed", "3 conversations processed"),
        (2, ["9"], "completed", f"1 conversation processed\n{batch_updates.MISSING}: 9"),
        (2, ["9", "wat"], "failed", f"0 conversations processed\n{batch_updates.MISSING}: 9, wat"),
        (0, [], "failed", "0 conversations processed"),
    ],
)
def test_the_end(total: int, refused: list[str], state: str, message: str) -> None:
    assert batch_updates.final_state(total, len(refused)) == state
    assert batch_updates.summary(total, refused) == message
