"""Fetches the public sets from their owners, and makes manifests of them.

Downloads go on where they stopped, and are checked before they count. Zip archives are
read without trusting what they say. The .mat files of the set of Cheng et al. become
pictures and outlines.

Tested in `tests/data/test_public.py` and `tests/data/test_download.py`.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, read_manifest, write_manifest
from tumorlens.errors import DatasetError, MissingExtraError, OutputError
from tumorlens.taxonomy import TumorClass

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes so far, and all of them if known."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each new try; bytes that arrive start it over."""

_T = TypeVar("_T")
_CHUNK = 1 << 18
_TIMEOUT_S = 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Remote:
    """A file elsewhere.

    Parameters
    ----------
    url
        Its address.
    name
        Name of the file on this machine.
    size
        Size in bytes; None where not known beforehand.
    md5
        MD5 in hex; None where the owner states none.
    headers
        Headers to send, such as a token, to the address's own host alone.
    """

    url: str
    name: str
    size: int | None = None
    md5: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class _BrokenOffError(Exception):
    """The connection broke; another try may go on.

    Parameters
    ----------
    reason
        Reason, for people.
    arrived
        Whether any bytes came before.
    """

    def __init__(self, reason: str, arrived: bool = False) -> None:
        super().__init__(reason)
        self.arrived = arrived


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but hands no token to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            request.remove_header("Authorization")
        return request


def fetch_json(url: str, pauses_s: Sequence[float] = PAUSES_S) -> Any:  # noqa: ANN401
    """Ask an address for JSON.

    Parameters
    ----------
    url
        The address.
    pauses_s
        Pauses between attempts, the same as `PAUSES_S`.

    Raises
    ------
    DatasetError
        If there is no answer, or another than JSON.
    """

    def ask() -> Any:  # noqa: ANN401 - whatever JSON holds
        with _open(Remote(url, url), {}) as response:
            return json.load(response)

    try:
        return _persist(url, ask, pauses_s)
    except (ValueError, http.client.HTTPException) as error:
        raise DatasetError(
            f"{url} answered with something else than JSON.", "Try again later."
        ) from error


def download(
    remote: Remote,
    folder: Path,
    *,
    progress: Progress = lambda name, done, total: None,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Path:
    """Bring a file here, unless it is here already.

    What has arrived lies in ``NAME.part`` and is kept when the download stops
    for any reason; the next call goes on from there. The file takes its name
    only when size and checksum are right.

    Parameters
    ----------
    remote
        File to fetch.
    folder
        Folder to write to; made if need be.
    progress
        Callback; see `Progress`.
    pauses_s
        Pauses between attempts, the same as `PAUSES_S`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DatasetError
        If the file cannot be had, or is not what its owner says it is.
    OutputError
        If the folder cannot be written.
    """
    # A name from elsewhere is not to lead out of the folder.
    name = PurePosixPath(remote.name.replace("\\", "/")).name
    target, part = folder / name, folder / f"{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not _flaw(target, remote):
            progress(name, target.stat().st_size, remote.size)
            return target
        for _ in range(2):
            _persist(remote.url, lambda: _go_on(remote, part, progress), pauses_s)
            flaw = _flaw(part, remote)
            if not flaw:
                return part.replace(target)
            # Two versions may have been joined: once more, from the start.
            part.unlink()
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}."
        ) from error
    raise DatasetError(
        f"{remote.url} is not the file that its owner describes: {flaw}.",
        "Try again later; if it stays so, the file was changed or is intercepted.",
    )


def _go_on(remote: Remote, part: Path, progress: Progress) -> None:
    """Fetch what is missing of the file, in one connection."""
    done = part.stat().st_size if part.is_file() else 0
    if remote.size is not None and done >= remote.size:
        return
    try:
        response = _open(remote, {"Range": f"bytes={done}-"} if done else {})
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:
            # Nothing is left to send, or the file was longer than it is now.
            if _total(error.headers, 0) == done:
                return
            part.unlink()
            raise _BrokenOffError("the file has changed") from error
        raise
    with response:
        start = done = done if response.status == 206 else 0
        total = _total(response.headers, done)
        with part.open("ab" if done else "wb") as file:
            while block := _read(response, arrived=done > start):
                file.write(block)
                done += len(block)
                progress(part.stem, done, total)
    if total is not None and done < total:
        raise _BrokenOffError(
            f"the connection ended after {done:,} of {total:,} bytes", done > start
        )


def _read(response: http.client.HTTPResponse, *, arrived: bool) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise _BrokenOffError(reason, arrived) from error


def _open(remote: Remote, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(
        remote.url,
        headers={
            "User-Agent": "tumorlens",
            "Accept-Encoding": "identity",
            **remote.headers,
            **headers,
        },
    )
    opener = urllib.request.build_opener(_SafeRedirects)
    response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    return response


def _total(headers: Message, done: int) -> int | None:
    """Read the whole file's size off an answer that starts at `done`."""
    stated = headers.get("Content-Range", "").rpartition("/")[2]
    if stated.isdecimal():
        return int(stated)
    length = headers.get("Content-Length", "")
    return done + int(length) if length.isdecimal() else None


def _persist(url: str, attempt: Callable[[], _T], pauses_s: Sequence[float]) -> _T:
    """Try again, with growing pauses, what may pass."""
    pauses = iter(pauses_s)
    while True:
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code not in _PASSING:
                raise _refused(url, error.code) from error
            reason = f"it answered {error.code}"
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except _BrokenOffError as error:
            reason = str(error)
            if error.arrived:
                pauses = iter(pauses_s)
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        pause = next(pauses, None)
        if pause is None:
            raise DatasetError(
                f"{url} cannot be fetched: {reason}.",
                "Check the connection and run the command again: "
                "it goes on where it stopped.",
            )
        time.sleep(pause)


def _refused(url: str, status: int) -> DatasetError:
    mends = {
        401: "It wants a token, or refuses the one it was given.",
        403: "It wants a token, or its terms have to be accepted on its page first.",
        404: "The set may have moved: look for it on its page.",
    }
    return DatasetError(
        f"{url} refuses the download (status {status}).",
        mends.get(status, "Look at the address in a browser."),
    )


def _flaw(path: Path, remote: Remote) -> str:
    """Say what is wrong with a file that should be complete; nothing if right."""
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        return f"{size:,} bytes instead of {remote.size:,}"
    if remote.md5:
        with path.open("rb") as file:
            # MD5 is what the archives publish; it guards against accidents.
            digest = hashlib.file_digest(
                file, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        if digest != remote.md5.lower():
            return f"MD5 {digest} instead of {remote.md5}"
    return ""


FIGSHARE_API = "https://api.figshare.com/v2"
KAGGLE_API = "https://www.kaggle.com/api/v1"

_CHENG_ARTICLE = 1512427
_KAGGLE_SET = "masoudnickparvar/brain-tumor-mri-dataset"
_TOKEN_MEND = (
    "Make a token on the settings page of your Kaggle account and set "
    "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or save the file "
    "kaggle.json as ~/.kaggle/kaggle.json."
)


@dataclass(frozen=True)
class PublicSet:
    """A set that can be fetched.

    Parameters
    ----------
    title
        One line for people: what it is, and its terms.
    fetch
        Called with the folder, a `Progress` and the pauses of `download`.
    """

    title: str
    fetch: Callable[[Path, Progress, Sequence[float]], list[Record]]


def fetch(
    name: str,
    folder: Path,
    *,
    progress: Progress = lambda name, done, total: None,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Path:
    """Fetch a public set and make its manifest.

    Stopped at any moment, the next call goes on where this one was.

    Parameters
    ----------
    name
        One of `PUBLIC_SETS`.
    folder
        Folder to write to; made if need be.
    progress
        Callback; see `tumorlens.data.public.Progress`.
    pauses_s
        Seconds to wait before each new try.

    Returns
    -------
    Path
        The manifest, ``manifest.csv`` in the folder.

    Raises
    ------
    DatasetError
        If the set is unknown, cannot be had, or is not as it should be.
    OutputError
        If the folder cannot be written.
    """
    if name not in PUBLIC_SETS:
        raise DatasetError(
            f"The set {name!r} is unknown.", f"Known are {', '.join(PUBLIC_SETS)}."
        )
    records = PUBLIC_SETS[name].fetch(folder, progress, pauses_s)
    manifest = folder / "manifest.csv"
    write_manifest(records, manifest)
    return manifest


def fetch_cheng(
    folder: Path, progress: Progress, pauses_s: Sequence[float]
) -> list[Record]:
    """Fetch the set of Cheng et al. and turn its .mat files into pictures.

    Names, sizes and checksums are what the archive's own listing says at the
    time of the call.
    """
    url = f"{FIGSHARE_API}/articles/{_CHENG_ARTICLE}"
    listing = fetch_json(url, pauses_s)
    remotes = [item for item in _listed(listing, url) if item.name.endswith(".zip")]
    if not remotes:
        raise DatasetError(f"{url} lists no zip archive.", "Look at the set's page.")
    archives = [
        download(item, folder / "archives", progress=progress, pauses_s=pauses_s)
        for item in remotes
    ]
    records = [
        record for archive in archives for record in _convert(archive, folder, progress)
    ]
    if not records:
        raise DatasetError(
            f"The archives of {url} hold no .mat file.", "Look at the set's page."
        )
    return sorted(records, key=lambda record: (len(record.path.stem), record.path))


def fetch_kaggle(
    folder: Path, progress: Progress, pauses_s: Sequence[float]
) -> list[Record]:
    """Fetch the common Kaggle set.

    Its owner states no checksum; the archive's own are checked in unpacking.
    """
    remote = Remote(
        f"{KAGGLE_API}/datasets/download/{_KAGGLE_SET}",
        "brain-tumor-mri-dataset.zip",
        headers=_kaggle_token(),
    )
    try:
        archive = download(
            remote, folder / "archives", progress=progress, pauses_s=pauses_s
        )
    except DatasetError as error:
        if not any(word in error.message for word in ("status 401", "status 403")):
            raise
        raise DatasetError(error.message, _TOKEN_MEND) from error
    if not zipfile.is_zipfile(archive):
        # A page that asks to log in can come in place of the archive.
        archive.unlink()
        raise DatasetError(f"{remote.url} sent no zip archive.", _TOKEN_MEND)
    pictures = folder / "pictures"
    if not pictures.is_dir():
        extract(archive, pictures)
    return [replace(item, source="kaggle") for item in read_manifest(pictures)]


PUBLIC_SETS: dict[str, PublicSet] = {
    "cheng": PublicSet(
        "Cheng et al., figshare 1512427: T1 with contrast, three tumours, outlines, "
        "patients; CC BY 4.0, about 900 MB",
        fetch_cheng,
    ),
    "kaggle": PublicSet(
        f"Kaggle {_KAGGLE_SET}: four classes, no patients; its test pictures "
        "repeat its training pictures, about 150 MB",
        fetch_kaggle,
    ),
}
"""Name and set."""


def _listed(listing: object, url: str) -> list[Remote]:
    try:
        return [
            Remote(
                url=str(item["download_url"]),
                name=str(item["name"]),
                size=int(item["size"]),
                md5=str(item["computed_md5"] or item["supplied_md5"]) or None,
            )
            for item in listing["files"]  # type: ignore[index]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{url} lists its files in a way that is not known ({error!r}).",
            "Look for a newer version of TumorLens.",
        ) from error


def _convert(archive: Path, folder: Path, progress: Progress) -> Iterator[Record]:
    with open_archive(archive) as (opened, members):
        slices = [
            item
            for item in members
            if PurePosixPath(item.filename).suffix.lower() == ".mat"
            # The set's own folds come beside the slices.
            and PurePosixPath(item.filename).name != "cvind.mat"
        ]
        for done, item in enumerate(slices, start=1):
            stem = PurePosixPath(item.filename).stem
            tumor_slice = read_tumor_slice(
                opened.read(item), f"{archive.name}: {item.filename}"
            )
            picture = folder / "images" / f"{stem}.png"
            mask = folder / "masks" / f"{stem}.png"
            _write_png(picture, tumor_slice.pixels)
            _write_png(mask, tumor_slice.mask)
            yield Record(
                path=picture,
                label=tumor_slice.label,
                patient=f"cheng:{tumor_slice.patient}",
                mask=mask,
                source="cheng",
                extra={"record": tumor_slice.record},
            )
            progress(f"{archive.name} to PNG", done, len(slices))


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    encoded, data = cv2.imencode(".png", pixels)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not encoded:
            raise OSError(f"{path.name} cannot be encoded")
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}."
        ) from error


def _kaggle_token() -> dict[str, str]:
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    user = os.environ.get("KAGGLE_USERNAME", "")
    key = os.environ.get("KAGGLE_KEY", "")
    path = Path.home() / ".kaggle" / "kaggle.json"
    if not (token or (user and key)) and path.is_file():
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            user, key = str(saved["username"]), str(saved["key"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path} holds no Kaggle token.",
                "Save the file that your Kaggle account's settings page gives.",
            ) from error
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user and key:
        pair = base64.b64encode(f"{user}:{key}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}


MAX_MEMBERS = 200_000
MAX_BYTES = 20 * 1024**3
"""Largest size of all members together, unpacked."""

_ARCHIVE_MEND = "Fetch the archive again from its owner."


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open an archive whose every member may be unpacked.

    Parameters
    ----------
    path
        The archive.

    Yields
    ------
    archive, members
        The members that are files.

    Raises
    ------
    DatasetError
        If it is damaged, too large, or holds a path that leads out of the
        folder, or a link.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            _check(path, members)
            yield archive, members
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DatasetError(
            f"{path} is damaged or no archive that can be read ({error}).",
            _ARCHIVE_MEND,
        ) from error


def extract(path: Path, folder: Path) -> None:
    """Unpack an archive; the folder appears only when all is there.

    Parameters
    ----------
    path
        The archive.
    folder
        Must not exist.

    Raises
    ------
    DatasetError
        The same as for `open_archive`.
    OutputError
        If the folder cannot be written.
    """
    unfinished = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        with open_archive(path) as (archive, members):
            for item in members:
                place = unfinished / item.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(item) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
        unfinished.replace(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}."
        ) from error


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    # zipfile itself never reads more of a member than its stated size.
    size = sum(item.file_size for item in members)
    if len(members) > MAX_MEMBERS or size > MAX_BYTES:
        raise DatasetError(
            f"{path} would unpack to {len(members):,} files of {size:,} bytes, "
            f"more than {MAX_MEMBERS:,} files or {MAX_BYTES:,} bytes.",
            _ARCHIVE_MEND,
        )
    for item in members:
        inside = PurePosixPath(item.filename.replace("\\", "/"))
        drive = ":" in inside.parts[0] if inside.parts else True
        if inside.is_absolute() or ".." in inside.parts or drive:
            raise DatasetError(
                f"{path} holds the path {item.filename!r}, which leads elsewhere.",
                "Do not use this archive.",
            )
        if stat.S_ISLNK(item.external_attr >> 16):
            raise DatasetError(
                f"{path} holds the link {item.filename!r}.", "Do not use this archive."
            )


_LABELS = {
    1: TumorClass.MENINGIOMA,
    2: TumorClass.GLIOMA,
    3: TumorClass.PITUITARY,
}
_MATLAB_MEND = "Fetch the file again, from the set of Cheng et al."


@dataclass(frozen=True)
class TumorSlice:
    """One slice of the set.

    Parameters
    ----------
    label
        The tumour's class.
    record
        The set's own number for the examination.
    pixels
        Shape (H, W), uint8: the file's values, darkest to brightest.
    mask
        Shape (H, W), uint8: 255 inside the tumour's outline, else 0.
    """

    label: TumorClass
    record: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    @property
    def patient(self) -> str:
        """The examination's number without a letter at its end.

        Numbers that differ in such a letter alone are most likely of one
        person, so they have to stay together.
        """
        return re.sub(r"(?<=\d)[A-Z]$", "", self.record)


def read_tumor_slice(data: bytes, name: str) -> TumorSlice:
    """Read one file: MATLAB 7.3, which is HDF5, with the structure ``cjdata``.

    Parameters
    ----------
    data
        The whole file.
    name
        Name of the file, for messages.

    Raises
    ------
    DatasetError
        If the file is damaged or holds something else.
    MissingExtraError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("Reading .mat files", "train") from error
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            parts = {
                key: np.asarray(file["cjdata"][key])
                for key in ("label", "PID", "image", "tumorMask")
            }
    # h5py raises any of these for files that are cut off or hold other things.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{name} is damaged, or is no slice of this set ({error}).", _MATLAB_MEND
        ) from error
    return TumorSlice(
        label=_label(parts["label"], name),
        record=_text(parts["PID"], name),
        # MATLAB writes columns first.
        pixels=_to_bytes(parts["image"].T, name),
        mask=_mask(parts["tumorMask"].T, parts["image"].T.shape, name),
    )


def _label(value: NDArray[Any], name: str) -> TumorClass:
    number = int(value.ravel()[0]) if value.size == 1 else None
    if number not in _LABELS:
        raise DatasetError(
            f"{name} has the label {value.ravel()[:5].tolist()}; known are 1, 2 and 3.",
            _MATLAB_MEND,
        )
    return _LABELS[number]


def _text(value: NDArray[Any], name: str) -> str:
    try:
        text = "".join(chr(int(code)) for code in value.ravel()).strip("\0 ")
    except (ValueError, TypeError, OverflowError):
        text = ""
    if not re.fullmatch(r"[\w.-]+", text):
        raise DatasetError(f"{name} names no patient (PID {text!r}).", _MATLAB_MEND)
    return text


def _to_bytes(image: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if image.ndim != 2 or image.size == 0 or image.dtype.kind not in "iuf":
        raise DatasetError(
            f"{name} holds an image of shape {image.shape} and type {image.dtype}.",
            _MATLAB_MEND,
        )
    values = image.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all() or high <= low:
        raise DatasetError(f"{name} holds a blank image.", _MATLAB_MEND)
    scaled = np.rint((values - low) * (255.0 / (high - low)))
    return np.ascontiguousarray(scaled.astype(np.uint8))


def _mask(mask: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    if mask.shape != shape:
        raise DatasetError(
            f"{name} has an outline of shape {mask.shape} on an image of {shape}.",
            _MATLAB_MEND,
        )
    return np.ascontiguousarray((mask > 0).astype(np.uint8) * np.uint8(255))
