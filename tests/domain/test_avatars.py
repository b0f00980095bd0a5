from service.domain.avatars import Avatars

HERE = Avatars("https://example.test")
SILHOUETTE = "https://example.test/images/messages/avatar-50.png"


def test_a_user_without_a_picture_gets_the_silhouette() -> None:
    assert HERE.of_user(None) == SILHOUETTE
    assert HERE.of_user("") == SILHOUETTE


def test_a_picture_is_always_an_absolute_address() -> None:
    assert HERE.of_user("/pictures/7") == "https://example.test/pictures/7"
    assert HERE.of_user("https://cdn.test/7") == "https://cdn.test/7"


def test_no_silhouette_when_not_wanted() -> None:
    assert Avatars("https://example.test", fallback=False).of_user(None) is None


def test_a_conversation_shows_oneself_the_other_or_a_group() -> None:
    assert HERE.of_conversation("https://cdn.test/me", []) == "https://cdn.test/me"
    assert HERE.of_conversation("https://cdn.test/me", ["https://cdn.test/you"]) == "https://cdn.test/you"
    assert HERE.of_conversation("https://cdn.test/me", [None]) == SILHOUETTE
    group = "https://example.test/images/messages/avatar-group-50.png"
    assert HERE.of_conversation(None, [None, None]) == group
