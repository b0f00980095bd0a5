from hypothesis import given
from hypothesis import strategies as st

from service.domain.participation import properties, workflow_state


def test_the_archive_hides_whether_a_conversation_was_read() -> None:
    assert workflow_state(archived=True, unread=True) == "archived"
    assert workflow_state(archived=True, unread=False) == "archived"
    assert workflow_state(archived=False, unread=True) == "unread"
    assert workflow_state(archived=False, unread=False) == "read"


@given(st.booleans(), st.booleans(), st.booleans())
def test_properties_are_what_holds_in_a_fixed_order(author: bool, files: bool, media: bool) -> None:
    shown = properties(last_author=author, attachments=files, media_objects=media)

    order = ["last_author", "attachments", "media_objects"]
    assert shown == [name for name, holds in zip(order, (author, files, media), strict=True) if holds]
