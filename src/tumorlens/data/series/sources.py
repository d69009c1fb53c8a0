"""Knows which whole series the known sets hold, and which stacks their slices form.

Tested in `tests/data/series/test_series_list.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tumorlens.data.dicom_patients import dicom_patient
from tumorlens.data.series.series_list import ScanPart, ScanRecord
from tumorlens.data.sources import set_rows
from tumorlens.errors import DatasetError
from tumorlens.taxonomy import TumorClass, parse_class

FREE_OF_TUMOR = 2
"""Slices away from any outlined one, from which on a slice counts as tumour-free."""

CHENG_GAP_MM = 7.0
"""Slices of 6 mm with gaps of 1 mm."""

LEAST_SLICES = 3
"""Fewer slices of one tumour are no stack."""

_TUMOR = {
    "brain1_image.nrrd": "brain1_label.nrrd",
    "brain2_image.nrrd": "brain2_label.nrrd",
}
_HEALTHY = ("t1_crop.nii.gz", "long_patient20_study2_T1W.nii.gz")
_GLIOMA = ("TCGA-FG-6692_T1.nii.gz", "TCGA-FG-6692_T1Gd.nii.gz")


def collect_scans(folder: Path) -> list[ScanRecord]:
    """List the series of the known sets.

    Parameters
    ----------
    folder
        Holds one or more of the sets in `SCAN_SOURCES`.

    Returns
    -------
    list of ScanRecord
        T1 with and without contrast only; patients are named as in the manifest
        of the slices.

    Raises
    ------
    DatasetError
        If it holds none, or one that is not laid out as it should be.
    """
    records = [
        scan
        for name, read in SCAN_SOURCES.items()
        if (folder / name).is_dir()
        for scan in read(folder / name)
    ]
    if not records:
        raise DatasetError(
            f"{folder} holds none of the sets {', '.join(SCAN_SOURCES)}.",
            "Give the folder that holds their folders, or write the list by hand.",
        )
    return records


def lgg_scans(folder: Path) -> Iterator[ScanRecord]:
    """Read TCGA-LGG: each patient's whole series, and two made out of it.

    One keeps the tumour-free slices alone, the other also the two in the middle
    of the tumour: a tumour as thin as none in the set, without which a rule
    learns that tumours are thick. Slices keep their places, so that no run
    reaches across what was taken out.
    """
    columns = ("id", "patient", "slice", "mask_px", "gap_to_tumor_slice")
    patients = defaultdict(list)
    for row in set_rows(folder / "lgg.csv", *columns):
        patients[row["patient"]].append(row)
    for name, rows in patients.items():
        whole, free = [], []
        for row in sorted(rows, key=lambda item: int(item["slice"])):
            path = folder / "images" / f"{row['id']}.jpg"
            drawn = int(row["mask_px"]) > 0
            mask = folder / "masks" / f"{row['id']}.png" if drawn else None
            whole.append(ScanPart(path, int(row["slice"]), mask))
            if int(row["gap_to_tumor_slice"]) >= FREE_OF_TUMOR:
                free.append(ScanPart(path, int(row["slice"])))
        patient = f"lgg:{name}"
        yield ScanRecord(patient, TumorClass.GLIOMA, patient, "lgg", tuple(whole))
        if len(free) < LEAST_SLICES:
            continue
        label = TumorClass.NO_TUMOR
        yield ScanRecord(f"{patient}:rest", label, patient, "lgg", tuple(free))
        outlined = [part for part in whole if part.mask is not None]
        if len(outlined) < 2:
            continue
        middle = len(outlined) // 2
        thin = [replace(part, mask=None) for part in outlined[middle - 1 : middle + 1]]
        parts = sorted([*free, *thin], key=lambda part: part.place or 0)
        name, label = f"{patient}:thin", TumorClass.GLIOMA
        yield ScanRecord(name, label, patient, "lgg_thin", tuple(parts))


def cheng_scans(folder: Path) -> Iterator[ScanRecord]:
    """Read the set of Cheng et al.: the slices that show one tumour in one plane."""
    columns = ("id", "class", "patient", "record", "plane")
    stacks = defaultdict(list)
    for row in set_rows(folder / "cheng.csv", *columns):
        stacks[row["patient"], row["record"], row["plane"], row["class"]].append(row)
    for (patient, record, plane, label), rows in stacks.items():
        if len(rows) < LEAST_SLICES:
            continue
        numbers = sorted(int(row["id"]) for row in rows)
        parts = [
            ScanPart(
                folder / "images" / f"{number}.jpg",
                place,
                folder / "masks" / f"{number}.png",
            )
            for place, number in enumerate(numbers)
        ]
        yield ScanRecord(
            f"cheng:{record}:{plane}:{label}",
            parse_class(label),
            f"cheng:{patient}",
            "cheng",
            tuple(parts),
            CHENG_GAP_MM,
        )


def volume_scans(folder: Path) -> Iterator[ScanRecord]:
    """Read the volumes that are T1 with or without contrast."""
    for path in sorted(folder.iterdir()):
        stem = path.name.split(".")[0]
        part = (ScanPart(path),)
        if path.name.startswith("IXI"):
            patient = f"ixi:{stem}"
            yield ScanRecord(patient, TumorClass.NO_TUMOR, patient, "ixi", part)
        elif path.name in _HEALTHY:
            patient = f"volumes:{stem}"
            yield ScanRecord(patient, TumorClass.NO_TUMOR, patient, "volumes", part)
        elif path.name in _GLIOMA:
            patient = f"lgg:{stem.split('_')[0]}"
            name = f"volumes:{stem}"
            yield ScanRecord(name, TumorClass.GLIOMA, patient, "volumes", part)
        elif path.name in _TUMOR:
            outlined = ScanPart(path, mask=folder / _TUMOR[path.name])
            name = f"volumes:{stem}"
            yield ScanRecord(name, None, name, "volumes", (outlined,))


def dicom_scans(folder: Path) -> Iterator[ScanRecord]:
    """Read the series: a healthy volunteer, and a patient with a tumour."""
    volunteer, patient = folder / "volunteer", folder / "brainix"
    if volunteer.is_dir():
        name, part = "dicom:volunteer", ScanPart(volunteer)
        whose = _patient_of(volunteer, name)
        yield ScanRecord(name, TumorClass.NO_TUMOR, whose, "volumes", (part,))
    if patient.is_dir():
        name = "dicom:brainix"
        part = ScanPart(patient / "T1", mask=patient / "ROI.nii.gz")
        whose = _patient_of(patient / "T1", name)
        yield ScanRecord(name, None, whose, "volumes", (part,))


def _patient_of(series: Path, name: str) -> str:
    # As a manifest of its slices names them: a network that they trained is not to
    # judge the series.
    first = min(series.iterdir(), default=series)
    return dicom_patient(first) or name


SCAN_SOURCES: dict[str, Callable[[Path], Iterator[ScanRecord]]] = {
    "lgg": lgg_scans,
    "cheng": cheng_scans,
    "volumes": volume_scans,
    "dicom": dicom_scans,
}
"""Name of the set's folder, and reader."""
