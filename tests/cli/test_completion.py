"""Completion of the command line, as a shell asks for it."""

import pytest

from service.runtime.settings import Settings
from tests.support.commands import clarion


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("clarion ba", {"batch"}),
        ("clarion batch re", {"recipients", "resume", "retry"}),
        ("clarion batch list --state s", {"scheduled", "sending", "sent"}),
        ("clarion send --body", {"--body", "--body-file"}),
    ],
)
async def test_bash_is_offered_what_fits(settings: Settings, words: str, offered: set[str]) -> None:
    done = await clarion(
        settings, _CLARION_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
    )

    assert (done.code, set(done.out.split())) == (0, offered)


async def test_the_script_for_a_shell_is_shown(settings: Settings) -> None:
    done = await clarion(settings, "--show-completion", "bash", fresh=True)

    assert (done.code, done.err) == (0, "")
    assert "_CLARION_COMPLETE=complete_bash" in done.out
