"""Judge what your program already holds: pydicom data sets, or a nibabel image.

    python examples/judge_objects.py FOLDER_OF_DICOM
    python examples/judge_objects.py VOLUME.nii.gz

Research use only: TumorLens is not a medical device.
"""

import argparse
from pathlib import Path

import nibabel
import pydicom

import tumorlens


def datasets_of(folder: Path) -> list[pydicom.Dataset]:
    """Read a series with pydicom, and take the names out before anybody sees them."""
    datasets = []
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = "Anonymous"
        datasets.append(dataset)
    return datasets


def image_of(path: Path) -> nibabel.Nifti1Image:
    """Read a volume with nibabel, and cut what lies in its lowest tenth away."""
    image = nibabel.load(path)
    return image.slicer[:, :, image.shape[2] // 10 :]


def main() -> None:
    """Read the command line, then judge one slice and the whole series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    # Nothing is written to the disk in between.
    source = datasets_of(path) if path.is_dir() else image_of(path)
    study = tumorlens.read(source)
    for note in study.notes:
        print(f"Note: {note}")

    series = study.series[0]
    prediction = tumorlens.load_series_classifier().predict(series)
    print(f"Series of {len(series.slices)} slices: {prediction.finding}")

    if path.is_dir():
        # A single data set, too, is a slice.
        middle = tumorlens.load_classifier().predict(source[len(source) // 2])
        print(f"One slice of it: {middle.decision.finding}")


if __name__ == "__main__":
    main()
