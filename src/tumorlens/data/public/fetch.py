"""Fetches the public sets from their owners, and makes manifests of them."""

from __future__ import annotations

import base64
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, read_manifest, write_manifest
from tumorlens.data.public.archive import extract, open_archive
from tumorlens.data.public.download import (
    PAUSES_S,
    Progress,
    Remote,
    download,
    fetch_json,
)
from tumorlens.data.public.matlab import read_tumor_slice
from tumorlens.errors import DatasetError, OutputError

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
        Callback; see `tumorlens.data.public.download.Progress`.
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
