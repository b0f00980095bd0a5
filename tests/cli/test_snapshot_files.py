"""Which file is which: by the header lines that the two formats prescribe, whatever the files' names."""

import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.cli.snapshot_files import rows_of, snapshot_of
from service.cli.snapshots import SET_SIZE, Reading
from service.contracts.canvas_sis import EnrollmentRow
from service.contracts.snapshot_rows import MalformedRow
from tests.support.snapshots import CANVAS as CANVAS_ROWS
from tests.support.snapshots import canvas_tables, save, write_zip

CANVAS = {
    "accounts": "account_id,parent_account_id,integration_id,name,status",
    "terms": "term_id,integration_id,name,status,date_override_enrollment_type,start_date,end_date",
    "courses": "course_id,integration_id,short_name,long_name,account_id,term_id,status,start_date,end_date,"
    "course_format,blueprint_course_id,grade_passback_setting,homeroom_course,friendly_name",
    "sections": "section_id,course_id,integration_id,name,status,start_date,end_date",
    "users": "user_id,integration_id,login_id,password,ssha_password,authentication_provider_id,first_name,last_name,"
    "full_name,sortable_name,short_name,email,pronouns,declared_user_type,canvas_password_notification,"
    "home_account,status",
    "enrollments": "course_id,root_account,start_date,end_date,user_id,user_integration_id,role,role_id,section_id,"
    "status,associated_user_id,limit_section_privileges,notify,temporary_enrollment_source_user_id",
    "groups": "group_id,group_category_id,account_id,course_id,name,status",
    "group_membership": "group_id,user_id,status",
    "admins": "user_id,account_id,role_id,role,status,root_account",
    "user_observers": "observer_id,student_id,status",
}
CANVAS_OTHERS = {
    "logins": "user_id,integration_id,login_id,password,ssha_password,authentication_provider_id,existing_user_id,"
    "existing_integration_id,existing_canvas_user_id,root_account,email",
    "xlists": "xlist_course_id,section_id,status",
    "group_categories": "group_category_id,account_id,course_id,category_name,status",
    "change_sis_id": "old_id,new_id,old_integration_id,new_integration_id,type",
}
_OF_ONEROSTER = "sourcedId,status,dateLastModified,"
ONEROSTER = {
    "manifest": "propertyName,value",
    "orgs": f"{_OF_ONEROSTER}name,type,identifier,parentSourcedId",
    "academicSessions": f"{_OF_ONEROSTER}title,type,startDate,endDate,parentSourcedId,schoolYear",
    "courses": f"{_OF_ONEROSTER}schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes",
    "classes": f"{_OF_ONEROSTER}title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,"
    "termSourcedIds,subjects,subjectCodes,periods",
    "users": f"{_OF_ONEROSTER}enabledUser,username,userIds,givenName,familyName,middleName,identifier,email,sms,phone,"
    "agentSourcedIds,grades,password,userMasterIdentifier,resourceSourcedIds,preferredGivenName,preferredMiddleName,"
    "preferredFamilyName,primaryOrgSourcedId,pronouns",
    "enrollments": f"{_OF_ONEROSTER}classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate",
    "roles": f"{_OF_ONEROSTER}userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId",
}
ONEROSTER_OTHERS = {
    "categories": f"{_OF_ONEROSTER}title,weight",
    "classResources": f"{_OF_ONEROSTER}title,classSourcedId,resourceSourcedId",
    "courseResources": f"{_OF_ONEROSTER}title,courseSourcedId,resourceSourcedId",
    "demographics": f"{_OF_ONEROSTER}birthDate,sex,americanIndianOrAlaskaNative,asian",
    "lineItems": f"{_OF_ONEROSTER}title,description,assignDate,dueDate,classSourcedId,categorySourcedId",
    "resources": f"{_OF_ONEROSTER}vendorResourceId,title,roles,importance,vendorId,applicationId",
    "results": f"{_OF_ONEROSTER}lineItemSourcedId,studentSourcedId,scoreStatus,score,scoreDate,comment",
    "userProfiles": f"{_OF_ONEROSTER}userSourcedId,profileType,vendorId,applicationId,credentialType,username",
}


@pytest.mark.parametrize(("files", "others"), [(CANVAS, CANVAS_OTHERS), (ONEROSTER, ONEROSTER_OTHERS)])
def test_each_file_is_known_by_its_header(tmp_path: Path, files: dict[str, str], others: dict[str, str]) -> None:
    headers = {f"export-{name}": header for name, header in (files | others).items()}
    with ExitStack() as opened:
        found = snapshot_of([save(tmp_path / "snapshot", headers)], opened)

    assert {Path(file.name).name: f"export-{file.form.name}" for file in found.files} == {
        f"export-{name}": f"export-{name}" for name in files
    }
    assert {Path(name).name for name in found.ignored} == {f"export-{name}" for name in others}
    assert found.bad == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("C1,U1,Advisor,S1,active", "role: is none of student, teacher, ta, observer, designer"),
        (",U1,student,,active", "course_id or section_id is missing"),
        ("C1,U1,student,S1,", "status: is missing"),
        (f"C1,{'U' * 256},student,S1,active", "user_id: is longer than 255 characters"),
        ('C1,"U"1,student,S1,active', "is no CSV: ',' expected after '\"'"),
        ("C1,U1,StudentEnrollment,S1,ACTIVE", None),
    ],
)
def test_a_row_that_cannot_be_understood_says_why(tmp_path: Path, row: str, reason: str | None) -> None:
    text = f"course_id,user_id,role,section_id,status\n{row}\n"
    with ExitStack() as opened:
        found = snapshot_of([save(tmp_path / "snapshot", {"enrollments.csv": text})], opened)
        ((number, parsed),) = rows_of(found.files[0])

    assert number == 2
    if reason is None:
        assert isinstance(parsed, EnrollmentRow)
    else:
        assert isinstance(parsed, MalformedRow)
        assert str(parsed) == reason


def test_no_more_is_read_than_is_written_at_once(tmp_path: Path) -> None:
    """Also out of a zip: what is in memory is a set, however long the file is."""
    write_zip(tmp_path / "day.zip", {"enrollments.csv": canvas_tables(5_000, 12 * SET_SIZE)["enrollments.csv"]})
    with ExitStack() as opened:
        reading = Reading(snapshot_of([str(tmp_path / "day.zip")], opened))
        shares = [reading.bytes_read / reading.snapshot.size for found in reading.sets() if found.rows == SET_SIZE]

    assert len(shares) == 12
    assert all(n / 13 < share < (n + 1) / 11.5 for n, share in enumerate(shares, start=0))
    assert reading.rows.total() == 12 * SET_SIZE


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_that_is_damaged_in_a_zip_is_bad_however_it_is_packed(tmp_path: Path, packed: int) -> None:
    path = tmp_path / "day.zip"
    users = "".join(f"U{n},login{n},Person {n},active\n" for n in range(5_000))
    with zipfile.ZipFile(path, "w", packed) as made:
        made.writestr("users.csv", f"user_id,login_id,full_name,status\n{users}")
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 50):
        content[place] ^= 0x55
    path.write_bytes(content)
    with ExitStack() as opened:
        found = snapshot_of([str(path)], opened)

    assert found.files == []
    assert [bad.place for bad in found.bad] == [f"{path}/users.csv"]


def test_what_goes_wrong_beside_a_file_is_no_fault_of_the_file(tmp_path: Path) -> None:
    """A terminal that is gone, say, which the bar is drawn on."""

    def draw(_size: int) -> None:
        raise BrokenPipeError

    with ExitStack() as opened:
        found = snapshot_of([save(tmp_path / "snapshot", CANVAS_ROWS)], opened)
        with pytest.raises(BrokenPipeError):
            list(rows_of(found.files[0], draw))
