"""What in a file name may identify a person, and hashed names with a key."""

from pathlib import Path

import pytest

from dentalzoo.data.anonymity import anonymous_names, personal_data, warning_of_names
from dentalzoo.errors import BadFile


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("Mueller_Hans.png", "what looks like a name"),
        ("Müller, Anna-Lena OPG.jpg", "what looks like a name"),
        ("DOE^JANE.dcm", "what looks like a name"),
        ("DOE_JOHN_left.tif", "what looks like a name"),
        ("Иванов Пётр.png", "what looks like a name"),
        ("opg_1975-03-12.png", "a date"),
        ("12.03.1975.png", "a date"),
        ("19750312_opg.png", "a date"),
        ("scan 12031975.png", "a date"),
        ("a/b/Smith_Anna_19750312.png", "a date and what looks like a name"),
        ("0001.png", ""),
        ("IMG_20.png", ""),
        ("Panoramic_Image_003.png", ""),
        ("Left Bitewing.jpg", ""),
        ("MT_Crack_exp1_num_4727.jpg", ""),
        ("Train_Images_Old.png", ""),
        ("x_jpg.rf.2b9c01ff19991231aa.jpg", ""),
        ("1.2.840.113619.2.55.3.604688119.969.1268071029.320.dcm", ""),
        ("99999999.png", ""),
        ("tooth_12_3.png", ""),
    ],
)
def test_personal_data_in_names(name, what):
    assert personal_data(name) == what


def test_one_line_for_many_names():
    assert warning_of_names(["1.png", "Doe_Jane.png", "Roe_Richard.png"]) == (
        "2 of 3 file names hold what looks like a name, such as 'Doe_Jane.png'"
    )
    assert warning_of_names(["1.png"]) == "" == warning_of_names([])


def test_hashed_names_stay_and_the_key_tells_them(tmp_path, caplog):
    key = tmp_path / "key.csv"
    files = [tmp_path / "Doe_Jane.png", tmp_path / "a,b\udce4.png"]
    with caplog.at_level("INFO", "dentalzoo"):
        names = anonymous_names(files, key)
    (line,) = caplog.messages
    assert line.startswith(f"{key} leads from") and "do not pass it on" in line
    assert len(set(names)) == 2 and all(len(name) == 12 for name in names)
    assert anonymous_names([Path(tmp_path / "new.png"), *files], key)[1:] == names
    text = key.read_text(errors="surrogateescape")
    assert f"{names[0]},{tmp_path}/Doe_Jane.png" in text
    assert anonymous_names(files, tmp_path / "other.csv") != names, "the salt differs"


def test_another_table_is_no_key(tmp_path):
    (tmp_path / "key.csv").write_text("id,split\n1,train\n")
    with pytest.raises(BadFile, match="must be a key of file names"):
        anonymous_names([tmp_path / "a.png"], tmp_path / "key.csv")
    assert (tmp_path / "key.csv").read_text() == "id,split\n1,train\n"
