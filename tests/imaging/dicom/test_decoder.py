"""Compressed frames are decoded apart: what ends the decoder ends nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.samples.coded_dicom import (
    JPEG_2000,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    encapsulated,
    fatal,
    high_throughput,
    many_components,
    recoded,
    rle,
    shipped,
    spinning,
    swelling_rle,
    with_code_byte,
)
from tests.samples.dicom_files import head, saved
from tumorlens.errors import DamagedFileError, FatalFileError
from tumorlens.imaging.dicom import decoder, decoder_process
from tumorlens.imaging.dicom.frames import frames_of
from tumorlens.imaging.dicom.grouping import read_dicom

GOOD = shipped("MR_small_RLE.dcm").read_bytes()
PLAIN = read_dicom(shipped("MR_small.dcm").read_bytes(), "a").slices[0].pixels


def read_good() -> None:
    assert (read_dicom(GOOD, "good.dcm").slices[0].pixels == PLAIN).all()


@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, JPEG_LS, JPEG_2000])
def test_what_gdcm_packs_comes_back_exactly(syntax: int, tmp_path: Path) -> None:
    data = recoded(syntax, tmp_path)
    assert len(data) < 8000
    assert (read_dicom(data, "a").slices[0].pixels == PLAIN).all()


@pytest.mark.parametrize("kind", ["jpeg-ls", "jpeg-2000", "jpeg-lossless"])
def test_a_frame_that_ends_its_decoder_is_an_error_and_the_next_is_read(
    kind: str, tmp_path: Path
) -> None:
    with pytest.raises(DamagedFileError, match=r"fatal\.dcm holds compressed pixel"):
        read_dicom(fatal(tmp_path)[kind], "fatal.dcm")
    read_good()


def test_those_frames_do_end_the_process_that_decodes_them(tmp_path: Path) -> None:
    """Otherwise a process of their own would be a cost without use."""
    code = (
        "import sys, pydicom; from pydicom.pixels import iter_pixels;"
        "list(iter_pixels(pydicom.dcmread(sys.argv[1])))"
    )
    path = tmp_path / "fatal.dcm"
    path.write_bytes(fatal(tmp_path)["jpeg-ls"])
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True)
    assert done.returncode < 0


SPINNING_APART = """
import signal, sys, pydicom
from pydicom.pixels import iter_pixels
signal.setitimer(signal.ITIMER_PROF, 2)
list(iter_pixels(pydicom.dcmread(sys.argv[1])))
"""


def test_a_code_on_which_the_decoder_counts_for_ever_is_ended(tmp_path: Path) -> None:
    with pytest.raises(FatalFileError, match=r"loop\.dcm .* busy"):
        read_dicom(spinning(), "loop.dcm")
    read_good()
    # Left alone it goes on: four times the processor time does not end it.
    path = tmp_path / "loop.dcm"
    path.write_bytes(spinning())
    command = [sys.executable, "-c", SPINNING_APART, path]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == -signal.SIGPROF


@pytest.mark.parametrize(
    ("values", "code_bytes"), [(64**2, 4_000), (2048**2, 8 * 10**6), (2 * 10**7, 10**5)]
)
def test_no_frame_is_given_more_than_one_and_a_half_seconds(
    values: int, code_bytes: int
) -> None:
    decoder_process._hold(values, code_bytes)
    due, _ = signal.getitimer(signal.ITIMER_PROF)
    decoder_process._release()
    # The system counts in steps of some milliseconds.
    assert 0.4 < due < 1.6
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0


@pytest.mark.parametrize("make", [swelling_rle, many_components])
def test_memory_beyond_the_picture_s_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(DamagedFileError):
        read_dicom(make(), "a")
    read_good()


def test_a_decoder_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    read_good()
    monkeypatch.setattr(decoder, "_WALL_SECONDS", 0.3)
    (worker,) = decoder._KEPT
    os.kill(worker.process.pid, signal.SIGSTOP)
    with pytest.raises(DamagedFileError):
        read_good()
    monkeypatch.undo()
    read_good()


def test_it_is_started_once_and_again_when_it_died() -> None:
    read_good()
    (first,) = decoder._KEPT
    read_good()
    assert [first] == decoder._KEPT
    first.process.kill()
    first.process.wait()
    read_good()
    assert [first] != decoder._KEPT


def test_modules_in_the_current_folder_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydicom.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    decoder.close_decoder()
    read_good()


def test_settings_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORLENS_SECRET", "x")
    decoder.close_decoder()
    read_good()
    (worker,) = decoder._KEPT
    environment = Path(f"/proc/{worker.process.pid}/environ")
    if not environment.exists():
        pytest.skip("needs /proc")
    assert b"TUMORLENS_" not in environment.read_bytes()


def test_a_syntax_without_a_decoder_says_so() -> None:
    data = encapsulated([b"\0\0\1\xb3" + bytes(30)], "1.2.840.10008.1.2.4.100", 64)
    with pytest.raises(DamagedFileError, match="no decoder") as caught:
        read_dicom(data, "a")
    assert "uncompressed" in caught.value.hint


def test_as_many_fragments_as_frames_are_read() -> None:
    blank = rle(64 * 64 // 128)
    two = encapsulated([blank, blank], RLE, 64, frames=2)
    assert [item.slice.pixels.max() for item in frames_of(two, "a")] == [7, 7]
    with pytest.raises(DamagedFileError, match="2 frames"):
        read_dicom(encapsulated([blank] * 9, RLE, 64, frames=2), "a")
    with pytest.raises(DamagedFileError):
        read_dicom(encapsulated([blank] * 2, RLE, 64, frames=3), "a")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("grey", lambda grey: grey),
        ("signed", lambda grey: grey - 500.0),
        ("colour", lambda grey: grey // 16),
    ],
)
def test_high_throughput_jpeg_2000_comes_back_exactly(
    kind: str, change: Callable[[Any], Any], number: int
) -> None:
    data = saved(high_throughput(kind, number))
    (slice_,) = read_dicom(data, "a").slices
    assert np.allclose(slice_.pixels, change(head(32).astype(np.float32)), atol=1e-3)


def test_high_throughput_jpeg_2000_that_is_broken_is_an_error() -> None:
    data = saved(high_throughput("grey"))
    place = data.index(b"\xff\x4f\xff\x51")
    cut = bytearray(data)
    cut[place + 200 : place + 400] = bytes(200)
    for broken in (
        bytes(cut),
        with_code_byte(data, 8, 255),
        with_code_byte(data, 42, 255),
    ):
        with pytest.raises(DamagedFileError, match="compressed"):
            read_dicom(broken, "broken.dcm")
    read_good()
