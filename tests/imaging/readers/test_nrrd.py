"""NRRD: real files, every space, and files that mean harm."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.imaging.test_geometry import find, marked
from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.formats import is_nrrd
from tumorlens.imaging.readers.nrrd import read_nrrd
from tumorlens.imaging.study import Plane

DATA = Path(os.environ.get("TUMORLENS_DATA", "../shared/data"))
RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 900, (36, 40, 34)).astype("<i2")
"""Indexed as the file does: columns, rows, slices."""

SIGNS = {
    "left-posterior-superior": (-1, -1, 1),
    "RAS": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
}


def written(tmp_path: Path, voxels: np.ndarray, header: dict[str, Any]) -> bytes:
    path = tmp_path / "head.nrrd"
    nrrd.write(str(path), voxels, header)
    return path.read_bytes()


def made(**fields: str | None) -> bytes:
    """One file whose header fields can be set or, by None, left out."""
    lines = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "36 40 34",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(0,0,0)",
    }
    for key, value in fields.items():
        name = key.replace("_", " ")
        if value is None:
            lines.pop(name)
        else:
            lines[name] = value
    head = "NRRD0004\n" + "".join(f"{key}: {item}\n" for key, item in lines.items())
    raw = SMALL.T.tobytes()
    packed = gzip.compress(raw, 1) if lines.get("encoding") in ("gzip", "gz") else raw
    return head.encode() + b"\n" + packed


def refused(data: bytes, kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        read_nrrd(data, "head.nrrd")
    assert "head.nrrd" in caught.value.message and caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("space", list(SIGNS))
@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_a_mark_is_found_in_the_patient(
    codes: str, space: str, encoding: str, tmp_path: Path
):
    voxels, affine, mark = marked(codes, 12.0)
    turned = np.diag(SIGNS[space]) @ affine[:3]
    header = {
        "space": space,
        "space directions": turned[:, :3].T,
        "space origin": turned[:, 3],
        "encoding": encoding,
    }
    data = written(tmp_path, voxels, header)
    assert is_nrrd(data)
    study = read_nrrd(data, "head.nrrd")
    assert study.notes == ()
    depth, row, column = find(study.series[0])
    found = study.slices[depth]
    assert found.plane is Plane.AXIAL and found.placement is not None
    assert np.allclose(found.placement.at(column, row), mark, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", ">i2", "<u2", ">i4", "<f4", ">f8", "<u8"])
def test_every_real_type(dtype: str, tmp_path: Path):
    voxels = (SMALL % 100).astype(dtype)
    header = {"space": "LPS", "space directions": np.eye(3), "encoding": "gzip"}
    study = read_nrrd(written(tmp_path, voxels, header), "a")
    assert np.array_equal(study.slices[7].pixels, voxels[:, :, 7].T)


def test_without_a_space_a_note_says_so():
    data = made(space=None, space_directions=None, space_origin=None, spacings="1 1 5")
    (note,) = read_nrrd(data, "a").notes
    assert "right" in note
    assert read_nrrd(made(space="scanner-xyz"), "a").notes
    fields = {"space": None, "space_directions": None, "space_origin": None}
    refused(made(**fields))


def test_a_lone_fourth_axis():
    data = made(
        dimension="4",
        sizes="1 36 40 34",
        space_directions="none (1,0,0) (0,1,0) (0,0,1)",
    )
    assert len(read_nrrd(data, "a").slices) == 34
    data = made(
        dimension="4",
        sizes="2 36 20 34",
        space_directions="none (1,0,0) (0,1,0) (0,0,1)",
    )
    assert "4 dimensions" in refused(data)


def test_bytes_to_skip():
    data = made(byte_skip="-1")
    end = data.index(b"\n\n") + 2
    moved = data[:end] + b"12345" + data[end:]
    assert np.array_equal(read_nrrd(moved, "a").slices[0].pixels, SMALL[:, :, 0].T)
    data = made(byte_skip="5")
    end = data.index(b"\n\n") + 2
    moved = data[:end] + b"12345" + data[end:]
    assert np.array_equal(read_nrrd(moved, "a").slices[0].pixels, SMALL[:, :, 0].T)
    refused(made(byte_skip="-7"))
    refused(made(line_skip="3"))


@pytest.mark.parametrize("field", ["data file", "datafile"])
def test_a_path_in_the_header_is_never_opened(field: str, tmp_path: Path):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(SMALL.T.tobytes())
    assert "another file" in refused(made(**{field: str(secret)}))
    os.mkfifo(tmp_path / "pipe")  # Opening it would wait for ever.
    refused(made(**{field: str(tmp_path / "pipe")}))
    assert "for each slice" in refused(made(**{field: "LIST"}))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"sizes": "30000 30000 30000"}, TooLargeError),
        ({"sizes": "30000 30000 30000", "encoding": "gzip"}, TooLargeError),
        ({"sizes": "450 450 450", "encoding": "gzip", "type": "double"}, TooLargeError),
        ({"sizes": "99999999999999999999999 1 1"}, InputError),
        ({"sizes": "0 40 34"}, DamagedFileError),
        ({"sizes": "-36 40 34"}, DamagedFileError),
        ({"sizes": "36 40"}, DamagedFileError),
        ({"sizes": "36 nan 34"}, DamagedFileError),
        ({"sizes": None}, DamagedFileError),
        ({"dimension": "5", "sizes": "36 40 34 1 1"}, InputError),
        ({"dimension": "many"}, DamagedFileError),
        ({"type": "block", "block_size": "4"}, InputError),
        ({"type": "patient's name"}, InputError),
        ({"type": None}, InputError),
        ({"endian": None}, DamagedFileError),
        ({"encoding": "bzip2"}, InputError),
        ({"encoding": "ascii"}, InputError),
        ({"encoding": None}, InputError),
        ({"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"}, InputError),
        ({"space_directions": "(0,0,0) (0,1,0) (0,0,1)"}, InputError),
        ({"space_directions": "(1,0.4,0) (0,1,0) (0,0,1)"}, InputError),
        ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, InputError),
        ({"space_directions": "(1e300,0,0) (0,1,0) (0,0,1)"}, InputError),
        ({"space_directions": "none (0,1,0) (0,0,1)"}, InputError),
        ({"space_directions": "(1,0) (0,1)"}, InputError),
        ({"space_origin": "(inf,0,0)"}, InputError),
        ({"space_origin": "(1,2)"}, InputError),
        ({"byte_skip": "99999999999"}, InputError),
    ],
)
def test_headers_that_cannot_be(fields: dict[str, str | None], kind: type[InputError]):
    refused(made(**fields), kind)


def test_values_that_are_no_numbers(tmp_path: Path):
    voxels = SMALL.astype(np.float32)
    voxels[1, 2, 3] = np.nan
    data = written(tmp_path, voxels, {"space": "RAS", "space directions": np.eye(3)})
    study = read_nrrd(data, "a")
    assert any("no finite numbers" in note for note in study.notes)
    assert all(np.isfinite(item.pixels).all() for item in study.slices)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_truncated_at_each_kilobyte(encoding: str):
    data = made(encoding=encoding)
    for end in [*range(0, len(data), 1024), 100, len(data) - 9, len(data) - 1]:
        refused(data[:end], DamagedFileError)


def test_a_header_without_an_end():
    refused(b"NRRD0004\n" + b"# more\n" * 100_000, DamagedFileError)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.integers(0, 260), st.integers(0, 255)), min_size=1, max_size=8
    ),
    st.booleans(),
)
def test_mutated_bytes_give_slices_or_a_clear_error(
    changes: list[tuple[int, int]], squeezed: bool
):
    data = bytearray(_PACKED if squeezed else _RAW)
    for place, value in changes:
        data[place] = value
    try:
        study = read_nrrd(bytes(data), "head.nrrd")
    except InputError as error:
        assert "head.nrrd" in error.message
    else:
        assert all(np.isfinite(item.pixels).all() for item in study.slices)


_RAW, _PACKED = made(), made(encoding="gzip")


@pytest.mark.skipif(not (DATA / "volumes").is_dir(), reason="no volumes here")
def test_real_heads():
    for path in sorted((DATA / "volumes").glob("brain*_image.nrrd")):
        study = read_nrrd(path.read_bytes(), path.name)
        assert {item.plane for item in study.slices} == {Plane.AXIAL}
        assert study.notes == ()
