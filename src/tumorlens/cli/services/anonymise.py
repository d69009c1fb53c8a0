"""`tumorlens anonymise`: DICOM files that may leave the house."""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared import FOLDER, PATH, cannot_write, make_folder
from tumorlens.errors import InputError, MissingFileError
from tumorlens.imaging.formats import display_name

ALL_WRITTEN, SOME_REFUSED, NONE_WRITTEN = 0, 1, 2


@click.command()
@click.argument(
    "places",
    nargs=-1,
    required=True,
    type=PATH,
    metavar="FILE|FOLDER...",
)
@click.option(
    "--out",
    required=True,
    type=FOLDER,
    help="Folder for the new files, by study and series.",
)
def anonymise(places: tuple[Path, ...], out: Path) -> int:
    """Take identifiers out of DICOM files, and write them to a folder.

    By the Basic Application Level Confidentiality Profile of DICOM PS3.15, in every
    item of every sequence; private attributes go. Patients get pseudonyms and UIDs are
    replaced, alike in all files of one call. Files whose pixels may show a name
    (secondary captures, burned-in annotation) are refused, and so is whatever cannot
    be read to its end. A face can still be recognised from a volume.

    Exit status: 0 all were written, 1 some were refused, 2 none was written.
    """
    from tumorlens.pacs.anonymise import Anonymiser, dicom_files
    from tumorlens.report.words import counted

    anonymiser = Anonymiser()
    make_folder(out)
    written = refused = 0
    for path in dicom_files(list(places)):
        name = display_name(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            refused += 1
            missing = MissingFileError(f"{name} cannot be read: {error.strerror}.")
            click.echo(f"Error: {missing}", err=True)
            continue
        try:
            place, clean = anonymiser.anonymise(data, name)
        except InputError as error:
            refused += 1
            click.echo(f"Error: {error}", err=True)
            continue
        target = out / place
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(clean)
        except OSError as error:
            raise cannot_write(target, error) from error
        written += 1
    click.echo(
        f"{counted(written, 'file')} written to {display_name(out)}, {refused} refused."
    )
    if not written:
        return NONE_WRITTEN
    return SOME_REFUSED if refused else ALL_WRITTEN
