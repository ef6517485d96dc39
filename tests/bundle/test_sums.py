"""SHA256SUMS is read strictly."""

import hashlib

import pytest

from dentalzoo.bundle.integrity import SUMS, sums, verify
from dentalzoo.bundle.sums import read_sums
from dentalzoo.errors import BadFile

A, B = (hashlib.sha256(name.encode()).hexdigest() for name in "ab")
GOOD = f"{A}  a.txt\n{B}  saved_model/b\n"
BAD = {
    "line ends of Windows": (GOOD.replace("\n", "\r\n"), "line feed alone.*carriage returns"),
    "line ends of old Macs": (GOOD.replace("\n", "\r"), "line feed alone.*carriage returns"),
    "one line end": (GOOD.replace("\n", "\r\n", 1), "line feed alone.*carriage returns"),
    "cut": (GOOD[:-1], "incomplete"),
    "empty": ("", "incomplete"),
    "blank line": (GOOD + "\n", "line 3 must be a SHA-256.*Received: ''"),
    "one blank": (GOOD.replace("  ", " "), "line 1 must be a SHA-256"),
    "tab": (GOOD.replace("  ", "\t"), "line 1 must be a SHA-256"),
    "binary mode": (GOOD.replace("  ", " *"), "line 1 must be a SHA-256"),
    "BSD": (f"SHA256 (a.txt) = {A}\n", "line 1 must be a SHA-256"),
    "upper case": (GOOD.upper(), "line 1 must be a SHA-256"),
    "short": (GOOD[1:], "line 1 must be a SHA-256"),
    "comment": ("# sums\n" + GOOD, "line 1 must be a SHA-256"),
    "byte order mark": ("\ufeff" + GOOD, "line 1 must be a SHA-256"),
    "twice": (GOOD + f"{A}  a.txt\n", "each file must be listed once. Received: 'a.txt' twice"),
    "above": (f"{A}  ../a.txt\n", "line 1 must name a file below the bundle.*'../a.txt'"),
    "absolute": (f"{A}  /etc/passwd\n", "line 1 must name a file below"),
    "backslash": (GOOD.replace("/", "\\"), "line 2 must name a file below"),
    "dot": (GOOD.replace("a.txt", "./a.txt"), "line 1 must name a file below"),
    "three blanks": (GOOD.replace("  ", "   "), None),
    "other bytes": (b"\xff\n", "must be text in UTF-8"),
    "huge": (GOOD * 40_000, "must have at most 4194304 bytes"),
}


def test_two_lines(tmp_path):
    (tmp_path / SUMS).write_text(GOOD)
    assert read_sums(tmp_path / SUMS) == {"a.txt": A, "saved_model/b": B}


@pytest.mark.parametrize("case", BAD)
def test_any_other_form_is_refused_in_one_line(case, tmp_path):
    content, reason = BAD[case]
    (tmp_path / SUMS).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "b").write_text("b")
    with pytest.raises(ValueError, match=reason) as caught:
        verify(tmp_path)
    assert "\n" not in str(caught.value) and SUMS in str(caught.value) or case == "three blanks"


def test_a_missing_file_of_sums_is_named(tmp_path):
    with pytest.raises(BadFile, match="SHA256SUMS: cannot be read. Received: No such file"):
        verify(tmp_path)
    (tmp_path / SUMS).mkdir()
    with pytest.raises(BadFile, match="SHA256SUMS: cannot be read. Received: Is a directory"):
        verify(tmp_path)


def test_a_file_whose_name_no_other_system_takes_is_refused(tmp_path):
    (tmp_path / "a\nb").write_text("x")
    (tmp_path / SUMS).write_text(sums(tmp_path))
    with pytest.raises(BadFile, match="line 2 must be a SHA-256"):
        verify(tmp_path)
