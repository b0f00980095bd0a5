import pytest

from service.domain.generated_messages import users_added


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["Ada"], "Ada was added to the conversation by Zoe"),
        (["Ada", "Ben"], "Ada and Ben were added to the conversation by Zoe"),
        (["Ada", "Ben", "Cyd"], "Ada, Ben, and Cyd were added to the conversation by Zoe"),
        (["Ada", "Ben", "Cyd", "Dee"], "Ada, Ben, Cyd, and Dee were added to the conversation by Zoe"),
    ],
)
def test_names_are_listed_as_in_an_english_sentence(names: list[str], sentence: str) -> None:
    assert users_added(names, "Zoe") == sentence
