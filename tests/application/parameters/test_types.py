"""How values become fields, whatever encoding they came in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.application.parameters import types
from service.application.parameters.types import (
    CanvasBool,
    CodeList,
    CommaList,
    IdList,
    Parameters,
    Presence,
    RawList,
    RealArray,
    ScalarCode,
    ScalarString,
    StringList,
)
from service.domain.brackets import Nested, Repeated


class Sample(Parameters):
    flag: CanvasBool = False
    on: CanvasBool = True
    text: ScalarString = None
    strings: StringList = ()
    commas: CommaList = ()
    ids: IdList = ()
    raw: RawList = ()
    present: Presence = False
    code: ScalarCode = None
    codes: CodeList = ()
    real: RealArray = None


def parse(model: type[Sample], parameters: dict[str, Any]) -> Sample:
    """On the installation 7."""
    return types.parse(model, parameters, shard_id=7)


@pytest.mark.parametrize(
    "value",
    ["yes", "Y", "true", "TRUE", "t", "on", "ON", "1", True, 1, 2, "2", "3x", "-1", " 1", "01", Repeated(["0", "1"])],
)
def test_true(value: Any) -> None:
    assert parse(Sample, {"flag": value}).flag is True


@pytest.mark.parametrize(
    "value",
    ["no", "n", "false", "f", "off", "0", False, None, "", "wat", 0, "0x1", "yess", 0.5, Repeated(["1", "0"])],
)
def test_false(value: Any) -> None:
    assert parse(Sample, {"on": value}).on is False


@pytest.mark.parametrize("value", [[], ["1"], {}, {"a": "0"}])
def test_an_array_or_object_for_a_boolean_means_its_default(value: Any) -> None:
    sample = parse(Sample, {"flag": value, "on": value})

    assert (sample.flag, sample.on) == (False, True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", ""),
        (5, "5"),
        (True, "true"),
        (None, None),
        (["a"], None),
        ({"a": 1}, None),
        (Repeated(["a", "b"]), "b"),
    ],
)
def test_scalar_strings(value: Any, text: str | None) -> None:
    assert parse(Sample, {"text": value}).text == text


@pytest.mark.parametrize(
    ("value", "strings", "commas"),
    [
        ("a,b", ["a,b"], ["a", "b"]),
        (["a", "b, c"], ["a", "b, c"], ["a", "b", "c"]),
        (Repeated(["a", "b"]), ["a", "b"], ["a", "b"]),
        (["a", None, "", 5, ["x"], {"y": 1}], ["a", "5"], ["a", "5"]),
        ("", [], []),
        (None, [], []),
        (Nested({"0": "a"}), ["a"], ["a"]),
        ({"0": "a"}, [], []),
        (7, ["7"], ["7"]),
    ],
)
def test_lists_of_strings(value: Any, strings: list[str], commas: list[str]) -> None:
    sample = parse(Sample, {"strings": value, "commas": value})

    assert (list(sample.strings), list(sample.commas)) == (strings, commas)


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (["1", 2, " 3 "], [1, 2, 3]),
        ("1,2,x,-4,5.0", [1, 2]),
        ([10**13 - 1, 10**13, 2**63, "9" * 30, 1e30, 0, "0", True], [10**13 - 1]),
        (Repeated(["7", "8"]), [7, 8]),
        (["²", "\u0661"], []),
    ],
)
def test_lists_of_ids_keep_what_can_be_an_id(value: Any, ids: list[int]) -> None:
    assert list(parse(Sample, {"ids": value}).ids) == ids


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("1,course_2", ["1", "course_2"]),
        ("  ", []),
        ("", []),
        (None, []),
        (["1,2", 3, None], ["1,2", 3]),
        ([None], []),
        ([""], [""]),
        (5, [5]),
        (Repeated(["4", "course_5,6"]), ["4", "course_5", "6"]),
        (Nested({"0": "1"}), ["1"]),
        ({"0": "1"}, []),
        ({}, []),
    ],
)
def test_raw_lists_keep_types(value: Any, raw: list[Any]) -> None:
    assert list(parse(Sample, {"raw": value}).raw) == raw


@pytest.mark.parametrize("array", ["strings", "commas", "ids", "raw", "codes", "real"])
def test_an_array_by_index_is_an_array(array: str) -> None:
    """In the order of the indices, whichever are left out; of one that is repeated the last counts."""
    sent = Nested({"10": "3", "2": "1", "007": Repeated(["9", "2"]), "11": None})

    assert [str(item) for item in getattr(parse(Sample, {array: sent}), array)] == ["1", "2", "3"]


@pytest.mark.parametrize("array", ["strings", "commas", "ids", "raw", "codes", "real"])
@pytest.mark.parametrize("sent", [{}, {"a": "1"}, {"0": "1", "x": "2"}, {"-1": "1"}, {"1" * 10: "1"}, {"²": "1"}])
def test_other_objects_are_no_arrays(array: str, sent: dict[str, Any]) -> None:
    assert not getattr(parse(Sample, {array: Nested(sent)}), array)


@pytest.mark.parametrize("array", ["strings", "commas", "ids", "raw", "codes", "real"])
def test_an_object_of_json_is_no_array(array: str) -> None:
    assert not getattr(parse(Sample, {array: {"0": "1"}}), array)


def test_global_ids_are_local_ones_in_every_field_for_ids_and_in_no_other() -> None:
    own, other = "70000000000005", "60000000000005"
    sent = [own, "7~6", other, 70000000000008]
    read = parse(
        Sample,
        {"ids": sent, "raw": sent, "real": sent, "codes": [f"course_{own}", other], "code": f"group_{own}"}
        | {"strings": sent, "commas": sent, "text": own},
    )

    assert list(read.ids) == [5, 6, 8]
    assert list(read.raw) == list(read.real or ()) == ["5", "6", other, 8]
    assert (list(read.codes), read.code) == (["course_5", other], "group_5")
    assert list(read.strings) == list(read.commas) == [str(item) for item in sent]
    assert read.text == own


@pytest.mark.parametrize(
    ("value", "present"), [("false", True), ("", True), (0, True), ([], True), (False, True), (None, False)]
)
def test_presence(value: Any, present: bool) -> None:
    assert parse(Sample, {"present": value}).present is present


def test_absent_parameters_have_their_defaults_and_unknown_ones_are_ignored() -> None:
    assert parse(Sample, {"unknown": "1"}) == Sample()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner, min_size=1).map(Repeated),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(Sample.model_fields)), values))
def test_any_value_for_any_field_gives_a_model(parameters: dict[str, Any]) -> None:
    assert isinstance(parse(Sample, parameters), Sample)
