"""Text is decoded once, as it was meant, and goes out as UTF-8."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from tests.samples.dicom_files import saved, slice_file, with_text
from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.dicom.header import parse, text

YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"
HONG = "Hong^Gildong=洪^吉洞=홍^길동"


def named(raw: bytes, character_set: str | None) -> bytes:
    """Write a file whose patient's name is these bytes."""
    data = with_text(slice_file(), "PatientName", raw)
    if character_set is None:
        return data
    value = character_set.encode()
    value += b" " * (len(value) % 2)
    place = data.index(b"\x08\0\x16\0UI")
    element = b"\x08\0\x05\0CS" + len(value).to_bytes(2, "little") + value
    return data[:place] + element + data[place:]


@pytest.mark.parametrize(
    ("raw", "character_set", "name"),
    [
        (
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B="
            b"\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "\\ISO 2022 IR 87",
            YAMADA,
        ),
        (YAMADA.encode(), "ISO_IR 192", YAMADA),
        (YAMADA.encode(), "ISO_IR_192", YAMADA),
        (YAMADA.encode(), "UTF-8", YAMADA),
        (YAMADA.encode(), None, YAMADA),
        (YAMADA.encode(), "ISO_IR 100", YAMADA),
        (
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="
            b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "\\ISO 2022 IR 149",
            HONG,
        ),
        ("Wang^XiaoDong=王^小东".encode("gb18030"), "GB18030", "Wang^XiaoDong=王^小东"),
        ("Müller^Jürgen".encode("latin-1"), "ISO_IR 100", "Müller^Jürgen"),
        ("Müller^Jürgen".encode("latin-1"), "ISO-8859-1", "Müller^Jürgen"),
        ("Müller^Jürgen".encode("latin-1"), None, "Müller^Jürgen"),
        ("Müller^Jürgen".encode("latin-1"), "ISO_IR 192", "Müller^Jürgen"),
        ("Люкceмбypг".encode("iso8859_5"), "ISO_IR 144", "Люкceмбypг"),
        # Escape sequences though the tag names another set, or is missing.
        (b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", None, "山田^太郎"),
        (b"\x1b$@;3ED\x1b(B^\x1b$BB@O:\x1b(B", "ISO_IR 100", "山田^太郎"),
        (b"\x1b$)C" + "홍길동".encode("euc_kr"), "ISO_IR 100", "홍길동"),
        (
            b"Wang=\x1b$)A" + "王".encode("gb2312") + b"^\x1b$)A\xd0\xa1\xb6\xab",
            "\\ISO 2022 IR 58",
            "Wang=王^小东",
        ),
        # No escape sequences though the tag asks for them.
        ("山田^太郎".encode("cp932"), "\\ISO 2022 IR 87", "山田^太郎"),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎".encode("cp932"), "ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
        ("홍^길동".encode("euc_kr"), "\\ISO 2022 IR 149", "홍^길동"),
        ("王^小东".encode("gb18030"), "\\ISO 2022 IR 58", "王^小东"),
        ("山田^太郎".encode("cp932"), None, "山田^太郎"),
        ("山田^太郎".encode("cp932"), "ISO_IR 100", "山田^太郎"),
        # Neither sequences nor a set that fits.
        ("홍^길동".encode("euc_kr"), None, "홍^길동"),
        ("김희중".encode("euc_kr"), "ISO_IR 100", "김희중"),
        ("王^小东".encode("gb18030"), None, "王^小东"),
        ("李^娜".encode("gb18030"), "ISO_IR 100", "李^娜"),
        ("张智宏".encode("gbk"), "ISO_IR 100", "张智宏"),
        ("유재석".encode("euc_kr"), None, "유재석"),
        ("林建国".encode("gbk"), None, "林建国"),
        ("脑部检查".encode("gbk"), None, "脑部检查"),
        ("Иванов^Иван".encode("cp1251"), None, "Иванов^Иван"),
        ("ПЕТРОВ^П".encode("cp1251"), None, "ПЕТРОВ^П"),
        ("Иванов^Иван".encode("koi8_r"), None, "Иванов^Иван"),
        ("Петрова^Анна".encode("koi8_r"), "ISO_IR 100", "Петрова^Анна"),
        ("МРТ^Мозга".encode("cp1251"), None, "МРТ^Мозга"),
        ("Παπαδόπουλος^Γιώργος".encode("iso8859_7"), None, "Παπαδόπουλος^Γιώργος"),
        ("ΠΑΠΑΔΟΠΟΥΛΟΣ".encode("iso8859_7"), None, "ΠΑΠΑΔΟΠΟΥΛΟΣ"),
        ("Νίκη^Μαρία".encode("iso8859_7"), "ISO_IR 100", "Νίκη^Μαρία"),
        (YAMADA.encode("euc_jp"), None, YAMADA),
        ("山田^太郎".encode("euc_jp"), None, "山田^太郎"),
        ("やまだ^たろう".encode("euc_jp"), "ISO_IR 100", "やまだ^たろう"),
        ("頭部".encode("euc_jp"), None, "頭部"),
        ("王^小明".encode("big5"), None, "王^小明"),
        ("Wang^XiaoMing=王^小明".encode("big5"), "ISO_IR 100", "Wang^XiaoMing=王^小明"),
        *((x.encode("euc_jp"), None, x) for x in ("伊藤^誠", "高橋^健一", "金子^賢")),
        *((x.encode("euc_jp"), None, x) for x in ("佐々木^希", "大谷^翔平", "原^辰徳")),
        *((x.encode("big5"), None, x) for x in ("黃^美玲", "余^秀英", "彭^冠廷")),
        *((x.encode("big5"), "ISO_IR 100", x) for x in ("韓^國瑜", "林^志玲")),
        *((x.encode("gbk"), None, x) for x in ("王^伟", "宋^丹丹", "李^娜")),
        # Traditional signs in GBK, whose second bytes are ASCII or letters of Windows.
        *((x.encode("gbk"), None, x) for x in ("陳^志明", "黃^俊傑", "劉德華")),
        *(
            (x.encode("gbk"), "ISO_IR 100", x)
            for x in ("何^家豪", "何^美麗", "官^志誠")
        ),
        ("Chen^ZhiMing=陳^志明".encode("gbk"), None, "Chen^ZhiMing=陳^志明"),
        ("腦部^檢查".encode("gbk"), None, "腦部^檢查"),
        *((x.encode("big5"), None, x) for x in ("巫^美英", "張^家瑋", "游^玉琴")),
        # Few pairs that spell a word of another alphabet, too.
        *((x.encode("gbk"), None, x) for x in ("吕艳", "孟莹", "张文")),
        ("최^지우".encode("euc_kr"), None, "최^지우"),
        *((x.encode("cp1251"), None, x) for x in ("Авдєєнко^Оксана", "ІВАСЮК^ЄВА")),
        ("ИВАНОВ^ИВАН".encode("koi8_r"), None, "ИВАНОВ^ИВАН"),
        ("Šmíd^Daniel".encode("cp1252"), None, "Šmíd^Daniel"),
        # Pairs that happen to be letters of UTF-8.
        ("头颅平扫".encode("gbk"), "GB18030", "头颅平扫"),
        ("头颅平扫".encode("gbk"), "GBK", "头颅平扫"),
        ("头颅平扫".encode("gbk"), "\\ISO 2022 IR 58", "头颅平扫"),
        ("Müller".encode(), "GB18030", "Müller"),
        # What nobody can tell is no Chinese and no Japanese.
        ("מלכי".encode("cp1255"), None, "îìëé"),
        ("王堃".encode("gbk"), None, "ÍõˆÒ"),
        # Letters of Windows are no Japanese.
        (b"O\x92Brien", "ISO_IR 100", "O’Brien"),
        ("CONCEIÇÃO".encode("latin-1"), None, "CONCEIÇÃO"),
        ("Ærø^Åse".encode("latin-1"), None, "Ærø^Åse"),
        ("T1 3ª 2º ±C".encode("latin-1"), None, "T1 3ª 2º ±C"),
        ("晏^文".encode("gbk"), None, "晏^文"),
        # Names of sets as programs write them.
        ("Wałęsa".encode("iso8859_2"), "ISO-8859-2", "Wałęsa"),
        ("Иванов".encode("cp1251"), "windows-1251", "Иванов"),
        ("Œuvré".encode("iso8859_15"), "ISO_IR 203", "Œuvré"),
    ],
)
def test_names_are_readable_and_written_as_utf8(
    raw: bytes, character_set: str | None, name: str
) -> None:
    header = parse(named(raw, character_set), "x")
    assert str(header.PatientName) == name
    assert header.SpecificCharacterSet == "ISO_IR 192"
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    assert str(dcmread(buffer).PatientName) == name


@pytest.mark.parametrize(
    "raw", ["山田太郎".encode()[:-1], b"\x1b$B;3\xff", b"\xff\xfe^\x80", b"\x1b"]
)
@pytest.mark.parametrize(
    "character_set", [None, "ISO_IR 192", "\\ISO 2022 IR 87", "NONSENSE", "ISO-8859-12"]
)
def test_a_broken_name_loses_no_slice(raw: bytes, character_set: str | None) -> None:
    data = named(b"Doe^" + raw, character_set)
    assert read_dicom(data, "x").slices
    name = str(parse(data, "x").PatientName)
    assert name.startswith("Doe^")
    name.encode("utf-8")


def test_plain_text_is_left_as_it_is() -> None:
    header = parse(saved(slice_file()), "x")
    assert "SpecificCharacterSet" not in header
    assert str(header.PatientName) == "Secret^Person"


def test_a_sequence_in_the_place_of_a_text_is_none() -> None:
    item = Dataset()
    tag = Tag(0x4F54, 0x4853)
    # A kind of value that no standard knows cannot be shown.
    item[tag] = RawDataElement(tag, "IB", 2, b"ab", 0, False, True)
    header = Dataset()
    header.add_new("Modality", "SQ", [item])
    with pytest.raises(NotImplementedError):
        str(item)
    assert text(header, "Modality") == ""
