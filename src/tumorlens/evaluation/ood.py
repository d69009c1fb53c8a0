"""Measures whether a bundle refuses what is no brain MRI, and passes what is.

Nothing is downloaded: photographs and files of other body parts come from packages that
are installed anyway, or are left out with a note. `tumorlens.data.ood_pictures` draws
the kinds that teach; those drawn here are others, so that what is measured on them says
how unknown kinds are met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import pick, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.data.ood_pictures import CT_FLAG, draw_ood_samples, photographs
from tumorlens.errors import InputError
from tumorlens.evaluation.scored_slices import (
    MeasuredBundle,
    judge_slices,
    share_of_each,
)
from tumorlens.imaging.study import Slice, to_slice
from tumorlens.inference.classifier import Classifier
from tumorlens.statistics import Figure, auroc_figure, share_figure
from tumorlens.taxonomy import Verdict

_SEED = 271_828
"""Far from the seeds of training runs, whose drawings taught the bundle."""

OTHER_PHOTOGRAPHS = (
    "clock",
    "horse",
    "microaneurysms",
    "stereo_motorcycle",
    "logo",
    "lfw_subset",
)
"""scikit-image's pictures that do not teach."""

DICOM_FILES = {
    "CT_small.dcm": "CT of another body part",
    "693_J2KI.dcm": "CT of a head",
    "J2K_pixelrep_mismatch.dcm": "CT of a head",
    "MR_small.dcm": "MRI of another body part",
    "examples_overlay.dcm": "MRI of another body part",
    "examples_palette.dcm": "ultrasound",
    "examples_rgb_color.dcm": "ultrasound",
    "examples_ybr_color.dcm": "ultrasound",
    "examples_jpeg2k.dcm": "ultrasound",
    "JPEG2000.dcm": "bone scan",
    "liver_1frame.dcm": "outline of a liver",
    "image_dfl.dcm": "test picture",
    "SC_ybr_full_422_uncompressed.dcm": "test picture",
}
"""Files that come with pydicom and show a picture of 32 pixels or more, and
what they show."""

Picture = NDArray[np.float32]

_EDGE = 256

_MIDDLE = (_EDGE // 2, _EDGE // 2)


@dataclass(frozen=True)
class OodPicture:
    """A picture that must be refused.

    Parameters
    ----------
    kind
        Kind of picture.
    origin
        Pictures of one origin are parts of one another, and count together.
    slice_
        The picture as the classifier takes it.
    taught
        True where bundles learn from this kind what to refuse.
    """

    kind: str
    origin: str
    slice_: Slice
    taught: bool


def gather_ood_pictures(
    records: Sequence[Record], of_each_kind: int, first: int = 0
) -> tuple[list[OodPicture], list[str]]:
    """Gather pictures that are no brain MRI, of every kind there is.

    Parameters
    ----------
    records
        Those flagged ``ct`` are taken; others are left out.
    of_each_kind
        Number that is drawn of each drawn kind.
    first
        Number of the first drawing: others differ from it.

    Returns
    -------
    pictures, notes
        Notes are full sentences on what had to be left out.
    """
    notes: list[str] = []
    pictures = [*_drawn(of_each_kind, first), *_taught_photographs()]
    pictures += _other_photographs()
    pictures += _computed_tomography(records)
    dicom = list(_dicom())
    if not dicom:
        notes.append(
            "The files of other body parts that come with pydicom were left out: "
            "it is not installed."
        )
    return pictures + dicom, notes


def _drawn(of_each_kind: int, first: int) -> Iterator[OodPicture]:
    numbers: dict[str, int] = {}
    for item in draw_ood_samples(of_each_kind, _SEED + first):
        number = numbers[item.kind] = numbers.get(item.kind, first) + 1
        origin = f"{item.kind} {number}"
        shown = replace(to_slice(item.pixels, origin), colorfulness=item.colorfulness)
        yield OodPicture(f"drawn: {item.kind}", origin, shown, taught=True)
    for kind in DRAWN:
        for number in range(first, first + of_each_kind):
            origin = f"{kind} {number}"
            pixels = draw_ood_picture(kind, _SEED + number)
            yield OodPicture(
                f"drawn: {kind}", origin, to_slice(pixels, origin), taught=False
            )


def _taught_photographs() -> Iterator[OodPicture]:
    """Take the very photographs that teach: whole, then four parts of each."""
    for row, item in enumerate(photographs()):
        origin = f"photograph {row // 5}"
        shown = replace(to_slice(item.pixels, origin), colorfulness=item.colorfulness)
        yield OodPicture("photograph that taught", origin, shown, taught=True)


def _other_photographs() -> Iterator[OodPicture]:
    """Photographs that do not teach, as they are and in grey."""
    for name, picture in _arrays():
        grey = picture if picture.ndim == 2 else None
        for part in _parts(picture):
            shown = to_slice(part, name)
            if grey is None:
                yield OodPicture("photograph in colour", name, shown, taught=False)
            plain = replace(shown, colorfulness=0.0)
            yield OodPicture("photograph in grey", name, plain, taught=False)


def _arrays() -> Iterator[tuple[str, NDArray[Any]]]:
    import skimage.data
    from sklearn.datasets import load_sample_images

    for name in OTHER_PHOTOGRAPHS:
        try:
            photograph = getattr(skimage.data, name)()
        except (AttributeError, OSError, ImportError, ValueError):
            continue  # this release does not carry it
        if name == "lfw_subset":
            # Faces of 25 x 25 pixels: enlarged, as a web page would show them.
            for row in range(0, 100, 10):
                yield f"face {row}", np.kron(photograph[row], np.ones((8, 8)))
        else:
            yield (
                name,
                np.asarray(
                    photograph[0] if isinstance(photograph, tuple) else photograph
                ),
            )
    for row, picture in enumerate(load_sample_images().images):
        yield f"sample photograph {row}", np.asarray(picture)


def _parts(picture: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the whole, then its quarters."""
    picture = picture * 255.0 if picture.dtype == bool else picture
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    yield picture
    for rows in (slice(0, height), slice(height, None)):
        for columns in (slice(0, width), slice(width, None)):
            yield np.ascontiguousarray(picture[rows, columns])


def _computed_tomography(records: Sequence[Record]) -> Iterator[OodPicture]:
    for record in records:
        if record.flag == CT_FLAG:
            shown = read_labelled_slice(record)
            if shown is not None:
                # A bundle learns from the CT of its own manifest.
                yield OodPicture("CT among the MRI", record.group, shown, taught=True)


def _dicom() -> Iterator[OodPicture]:
    try:
        pydicom = import_module("pydicom")
    except ImportError:
        return
    folder = Path(str(pydicom.__file__)).parent / "data" / "test_files"
    for name, kind in DICOM_FILES.items():
        pixels = _decoded(pydicom.dcmread, folder / name)
        if pixels is not None:
            yield OodPicture(
                f"DICOM: {kind}", name, to_slice(pixels, name), taught=False
            )


def _decoded(read: Callable[[Path], Any], path: Path) -> NDArray[Any] | None:
    """Decode the first frame; None where this installation cannot."""
    try:
        data = read(path)
        pixels = np.asarray(data.pixel_array)
        if int(getattr(data, "NumberOfFrames", 1) or 1) > 1:
            pixels = pixels[0]
        to_slice(pixels, path.name)
    except (OSError, ValueError, AttributeError, RuntimeError, InputError):
        return None
    return pixels


def draw_ood_picture(kind: str, seed: int) -> Picture:
    """Draw one picture.

    Parameters
    ----------
    kind
        A key of `DRAWN`.
    seed
        The same seed draws the same picture.

    Returns
    -------
    ndarray
        Shape (256, 256), float32, 0 to 255.
    """
    rng = np.random.default_rng((seed, list(DRAWN).index(kind), 41))
    return np.clip(DRAWN[kind](rng), 0.0, 255.0).astype(np.float32)


def _canvas(level: float) -> Picture:
    return np.full((_EDGE, _EDGE), level, np.float32)


def _ellipse(
    canvas: Picture,
    middle: tuple[float, float],
    axes: tuple[float, float],
    level: float,
    angle: float = 0.0,
) -> None:
    spot = (round(middle[0]), round(middle[1]))
    reach = (max(1, round(axes[0])), max(1, round(axes[1])))
    cv2.ellipse(canvas, spot, reach, angle, 0, 360, level, -1)


def _write(
    canvas: Picture,
    text: str,
    spot: tuple[int, int],
    ink: float,
    scale: float = 0.35,
    face: int = cv2.FONT_HERSHEY_SIMPLEX,
) -> None:
    """Write on a picture; OpenCV writes on bytes alone."""
    letters = np.zeros(canvas.shape, np.uint8)
    cv2.putText(letters, text, spot, face, scale, 255, 1)
    canvas[letters > 127] = ink


def _soften(canvas: Picture, rng: np.random.Generator) -> Picture:
    """Blur and noise, as a scanner adds them."""
    blurred = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.7, 2.0)))
    noise = rng.normal(0.0, rng.uniform(1.0, 6.0), canvas.shape)
    return np.asarray(blurred + noise, np.float32)


def _speckle(rng: np.random.Generator, width: float) -> Picture:
    field = cv2.GaussianBlur(rng.normal(size=(_EDGE, _EDGE)), (0, 0), width)
    return np.asarray(field / field.std(), np.float32)


def _test_card(rng: np.random.Generator) -> Picture:
    """Squares and bars of even width."""
    y, x = np.mgrid[0:_EDGE, 0:_EDGE] // int(rng.integers(6, 40))
    pattern = (x + y) % 2 if rng.random() < 0.5 else x % 2
    return np.asarray(rng.uniform(0, 80) + rng.uniform(80, 175) * pattern, np.float32)


def _code(rng: np.random.Generator) -> Picture:
    """Black and white blocks at random, as in a printed two-dimensional code."""
    count = int(rng.integers(17, 42))
    blocks = 255.0 * (rng.random((count, count)) < 0.5).astype(np.float32)
    edge = int(rng.integers(150, 240))
    canvas = _canvas(255.0)
    start = (_EDGE - edge) // 2
    canvas[start : start + edge, start : start + edge] = cv2.resize(
        blocks, (edge, edge), interpolation=cv2.INTER_NEAREST
    )
    return canvas


def _pie(rng: np.random.Generator) -> Picture:
    """Slices of a disc in even tones, with a legend: a pie chart."""
    canvas = _canvas(float(rng.choice([255.0, 0.0])))
    radius = int(rng.integers(50, 100))
    ends = np.sort(rng.uniform(0.0, 360.0, int(rng.integers(2, 8))))
    for start, end in zip(ends, [*ends[1:], ends[0] + 360.0], strict=True):
        level = float(rng.uniform(30.0, 230.0))
        cv2.ellipse(canvas, (120, 140), (radius, radius), 0, start, end, level, -1)
        y = int(rng.integers(12, 240))
        cv2.rectangle(canvas, (225, y), (240, y + 8), level, -1)
    return canvas


def _heat_table(rng: np.random.Generator) -> Picture:
    """Cells of a confusion matrix, with numbers in them."""
    count = int(rng.integers(3, 9))
    edge = 200 // count
    canvas = _canvas(255.0)
    for row in range(count):
        for column in range(count):
            level = float(rng.uniform(20.0, 250.0))
            x, y = 30 + column * edge, 20 + row * edge
            cv2.rectangle(canvas, (x, y), (x + edge, y + edge), level, -1)
            ink = 0.0 if level > 128.0 else 255.0
            text = str(int(rng.integers(0, 99)))
            _write(canvas, text, (x + 3, y + edge // 2), ink)
    return canvas


def _trace(rng: np.random.Generator) -> Picture:
    """Beats over ruled paper: an electrocardiogram."""
    canvas = _canvas(240.0)
    canvas[::8] = 205.0
    canvas[:, ::8] = 205.0
    x = np.arange(_EDGE)
    period = float(rng.uniform(35.0, 70.0))
    for middle in range(40, 250, int(rng.integers(50, 90))):
        phase = (x % period) / period - 0.5
        beat = -28.0 * np.exp(-((phase / 0.03) ** 2))
        beat -= 7.0 * np.exp(-(((phase - 0.25) / 0.06) ** 2))
        y = middle + beat + rng.normal(0.0, 0.6, _EDGE)
        points = np.stack([x, y], axis=1).astype(np.int32)
        cv2.polylines(canvas, [points], False, 20.0, 1)
    return canvas


def _fan(rng: np.random.Generator) -> Picture:
    """Speckle within a sector: an ultrasound picture."""
    y, x = np.mgrid[0:_EDGE, 0:_EDGE].astype(np.float32)
    depth = np.hypot(x - 128.0, y + 10.0)
    angle = np.arctan2(x - 128.0, y + 10.0)
    inside = (np.abs(angle) < rng.uniform(0.4, 0.8)) & (depth > 30) & (depth < 245)
    tissue = 90.0 + 45.0 * _speckle(rng, 1.5) + 25.0 * _speckle(rng, 12.0)
    canvas = np.where(inside, tissue * np.exp(-depth / 400.0), 0.0).astype(np.float32)
    spot = rng.uniform(90, 170, 2)
    _ellipse(canvas, (spot[0], spot[1]), (rng.uniform(8, 35), 18.0), 8.0)
    return canvas


def _spine(rng: np.random.Generator) -> Picture:
    """Blocks with discs between them and a canal behind: a spine from the side."""
    canvas = _canvas(float(rng.uniform(30.0, 90.0))) + 8.0 * _speckle(rng, 5.0)
    bone, disc = float(rng.uniform(110, 200)), float(rng.uniform(30, 230))
    bend = float(rng.uniform(-30.0, 30.0))
    step = int(rng.integers(26, 44))
    for y in range(-10, _EDGE + 20, step):
        x = 120.0 + bend * np.sin(y / 60.0)
        corner = (round(x - 22), y)
        cv2.rectangle(canvas, corner, (round(x + 22), y + step - 9), bone, -1)
        _ellipse(canvas, (x, y + step - 5), (20.0, 4.0), disc)
        _ellipse(canvas, (x + 42.0, y + step / 2), (9.0, step / 1.6), 20.0)
        _ellipse(canvas, (x + 42.0, y + step / 2), (5.0, step / 1.6), bone)
    return _soften(canvas, rng)


def _knee(rng: np.random.Generator) -> Picture:
    """Two long bones that meet, a small one in front, muscle around."""
    canvas = _canvas(4.0)
    soft, bone = float(rng.uniform(50, 110)), float(rng.uniform(130, 220))
    cv2.rectangle(canvas, (50, 0), (205, _EDGE), soft, -1)
    shift = float(rng.uniform(-15.0, 15.0))
    cv2.rectangle(canvas, (round(92 + shift), 0), (round(150 + shift), 85), bone, -1)
    _ellipse(canvas, (122 + shift, 92), (48.0, 30.0), bone)
    _ellipse(canvas, (122 + shift, 155), (50.0, 26.0), bone)
    cv2.rectangle(canvas, (98, 160), (148, _EDGE), bone, -1)
    _ellipse(canvas, (66, rng.uniform(70, 110)), (10.0, 22.0), bone)
    return _soften(canvas + 10.0 * _speckle(rng, 3.0) * (canvas > 20.0), rng)


def _breast(rng: np.random.Generator) -> Picture:
    """Half an ellipse at the edge, brighter inside: a mammogram."""
    canvas = _canvas(0.0)
    wide, high = float(rng.uniform(90, 170)), float(rng.uniform(90, 122))
    _ellipse(canvas, (0, 128), (wide, high), float(rng.uniform(70, 120)))
    tissue = canvas * (1.0 + 0.35 * _speckle(rng, 6.0) + 0.2 * _speckle(rng, 2.0))
    spot = (rng.uniform(20, wide * 0.6), rng.uniform(90, 166))
    _ellipse(tissue, spot, (rng.uniform(5, 16), 10.0), 230.0)
    return _soften(tissue if rng.random() < 0.5 else tissue[:, ::-1].copy(), rng)


def _quality_phantom(rng: np.random.Generator) -> Picture:
    """Draw a bright disc with slots and holes, as scanners are tested with."""
    canvas = _canvas(3.0)
    level = float(rng.uniform(120.0, 220.0))
    _ellipse(canvas, _MIDDLE, (108.0, 108.0), level)
    for row in range(int(rng.integers(1, 5))):
        y = 60 + 40 * row
        cv2.rectangle(canvas, (70, y), (186, y + int(rng.integers(3, 14))), 12.0, -1)
    for _ in range(int(rng.integers(4, 30))):
        spot = rng.uniform(60, 196, 2)
        _ellipse(canvas, (spot[0], spot[1]), (3.0, 3.0), 10.0)
    return _soften(canvas, rng)


def _cells(rng: np.random.Generator) -> Picture:
    """Dark nuclei on pale ground: a picture from a microscope."""
    canvas = _canvas(float(rng.uniform(170, 225))) + 14.0 * _speckle(rng, 4.0)
    for _ in range(int(rng.integers(60, 260))):
        spot, axes = rng.uniform(0, _EDGE, 2), rng.uniform(2.5, 8.0, 2)
        level, angle = float(rng.uniform(40, 130)), float(rng.uniform(0, 180))
        _ellipse(canvas, (spot[0], spot[1]), (axes[0], axes[1]), level, angle)
    return _soften(canvas, rng)


def _screen(rng: np.random.Generator) -> Picture:
    """Bars, panels and buttons: a picture of a computer's screen."""
    canvas = _canvas(float(rng.choice([30.0, 235.0])))
    cv2.rectangle(canvas, (0, 0), (_EDGE, 16), float(rng.uniform(60, 180)), -1)
    for _ in range(int(rng.integers(4, 12))):
        x, y = (int(item) for item in rng.integers(5, 190, 2))
        wide, high = (int(item) for item in rng.integers(20, 110, 2))
        level = float(rng.uniform(0.0, 255.0))
        cv2.rectangle(canvas, (x, y + 16), (x + wide, y + high), level, -1)
        ink = 0.0 if level > 128.0 else 255.0
        _write(canvas, "Open file", (x + 3, y + 30), ink)
    return canvas


def _columns(rng: np.random.Generator) -> Picture:
    """Draw a page of print: heading, rule, two columns in another face."""
    canvas = _canvas(float(rng.uniform(225.0, 255.0)))
    face = int(rng.choice([cv2.FONT_HERSHEY_COMPLEX_SMALL, cv2.FONT_HERSHEY_TRIPLEX]))
    _write(canvas, "RESULTS", (60, 22), 0.0, 0.8, face)
    cv2.line(canvas, (12, 30), (244, 30), 60.0, 1)
    letters = np.array(list("etaoinshrdlu0123456789.,   "))
    step = int(rng.integers(9, 15))
    for left in (12, 134):
        for y in range(36 + step, 250, step):
            line = "".join(rng.choice(letters, 13))
            _write(canvas, line, (left, y), 20.0, step / 34.0, face)
    return canvas


DRAWN: dict[str, Callable[[np.random.Generator], Picture]] = {
    "test card": _test_card,
    "printed code": _code,
    "pie chart": _pie,
    "table of tones": _heat_table,
    "electrocardiogram": _trace,
    "ultrasound": _fan,
    "spine": _spine,
    "knee": _knee,
    "mammogram": _breast,
    "scanner's test object": _quality_phantom,
    "microscopy": _cells,
    "screen": _screen,
    "page of print": _columns,
}
"""Kind and who draws it."""


_REAL_SLICES = 400
_OF_EACH_KIND = 20
_CURVE_POINTS = 60


@dataclass(frozen=True)
class _OodScores:
    """Domain scores (N,), refusals (N,), and N names of who counts together."""

    scores: NDArray[np.float64]
    refused: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def rows(self, kept: NDArray[np.bool_]) -> _OodScores:
        return _OodScores(self.scores[kept], self.refused[kept], self.groups[kept])

    @staticmethod
    def joined(parts: Sequence[_OodScores]) -> _OodScores:
        return _OodScores(
            np.concatenate([item.scores for item in parts]),
            np.concatenate([item.refused for item in parts]),
            np.concatenate([item.groups for item in parts]),
        )


def measure_ood(
    measured_bundles: Sequence[MeasuredBundle],
    say: Callable[[str], None] = print,
    of_each_kind: int = _OF_EACH_KIND,
) -> dict[str, Any]:
    """Show a bundle what is no brain MRI, and brain MRI beside it.

    Parameters
    ----------
    measured_bundles
        Bundles, at least one, and records: plain ones are brain MRI; those flagged
        ``ct`` are out of distribution; other flags are left out.
    say
        Receives lines of progress.
    of_each_kind
        Pictures of each drawn kind, shared by the bundles. Photographs are shown to
        every bundle.

    Returns
    -------
    dict
        Plain JSON. ``bundles`` counts them. ``kinds`` by name: ``pictures``,
        ``taught``, ``auroc`` of the domain score against brain MRI, ``refused``.
        The same for ``all`` pictures, and for the kinds that ``taught`` the bundle
        and those that are ``new`` to it. ``passed`` and ``passed_by_source`` of the
        brain MRI.
        ``curve`` holds the shares passed and refused over all thresholds.
        Intervals are over patients and over whole photographs.
    """
    each = share_of_each(of_each_kind, measured_bundles)
    pictures: list[OodPicture] = []
    sources: list[str] = []
    notes: list[str] = []
    ood_parts, real_parts = [], []
    for number, item in enumerate(measured_bundles):
        shown, notes = gather_ood_pictures(item.records, each, number * each)
        slices = _real_slices(
            item.records, share_of_each(_REAL_SLICES, measured_bundles)
        )
        say(f"Judging {len(shown)} pictures of other things, {len(slices)} brain MRI.")
        named = [(f"foreign {row.kind} {row.origin}", row.slice_) for row in shown]
        ood_parts.append(_score(item.classifier, named))
        named = [(row.group, slice_) for row, slice_ in slices]
        real_parts.append(_score(item.classifier, named))
        pictures += shown
        sources += [row.source for row, _ in slices]
    ood, real = _OodScores.joined(ood_parts), _OodScores.joined(real_parts)
    taught = np.array([item.taught for item in pictures])
    return {
        "bundles": len(measured_bundles),
        "slices": len(sources),
        "patients": len(set(real.groups.tolist())),
        "passed": share_figure(~real.refused, real.groups.tolist()),
        "passed_by_source": _by_source(sources, real),
        "all": _against(real, ood),
        "taught": _against(real, ood.rows(taught)),
        "new": _against(real, ood.rows(~taught)),
        "kinds": _by_kind(real, ood, pictures),
        "curve": _curve(real, ood.rows(~taught)),
        "notes": notes,
    }


def _real_slices(records: Sequence[Record], count: int) -> list[tuple[Record, Slice]]:
    plain = [item for item in records if not item.flag]
    return [
        (item, slice_)
        for item in pick(plain, count)
        if (slice_ := read_labelled_slice(item)) is not None
    ]


def _score(classifier: Classifier, named: Sequence[tuple[str, Slice]]) -> _OodScores:
    """Judge slices, each with the name of who counts together."""
    decisions = judge_slices(classifier, (item for _, item in named))
    groups = [name for name, _ in named]
    return _OodScores(
        np.array([item.domain_score for item in decisions], np.float64),
        np.array([item.label is Verdict.NOT_BRAIN_MRI for item in decisions], bool),
        np.array(groups, np.str_),
    )


def _against(real: _OodScores, ood: _OodScores) -> dict[str, Any]:
    scores = np.concatenate([real.scores, ood.scores])
    is_real = np.arange(len(scores)) < len(real.scores)
    groups = [*real.groups.tolist(), *ood.groups.tolist()]

    return {
        "pictures": len(ood.scores),
        "auroc": auroc_figure(scores, is_real, groups),
        "refused": share_figure(ood.refused, ood.groups.tolist()),
    }


def _by_kind(
    real: _OodScores, ood: _OodScores, pictures: Sequence[OodPicture]
) -> dict[str, Any]:
    kinds = np.array([item.kind for item in pictures], np.str_)
    return {
        kind: {"taught": taught, **_against(real, ood.rows(kinds == kind))}
        for kind, taught in {item.kind: item.taught for item in pictures}.items()
    }


def _by_source(sources: Sequence[str], real: _OodScores) -> dict[str, Figure | None]:
    names = np.array(sources, np.str_)
    parts = {name: real.rows(names == name) for name in sorted(set(sources))}
    return {
        name or "unnamed": share_figure(~part.refused, part.groups.tolist())
        for name, part in parts.items()
    }


def _curve(real: _OodScores, ood: _OodScores) -> dict[str, list[float]]:
    """Shares over thresholds: of brain MRI that passes, of the rest refused."""
    if not len(real.scores) or not len(ood.scores):
        return {"passed": [], "refused": []}
    # From the brain MRI's own scores: most thresholds where most slices lie.
    cuts = np.quantile(real.scores, np.linspace(0.0, 1.0, _CURVE_POINTS) ** 2)
    return {
        "passed": [float((real.scores >= cut).mean()) for cut in cuts],
        "refused": [float((ood.scores < cut).mean()) for cut in cuts],
    }
