"""A reference standard out of free-text reports: rules, and people where they end.

A report gets a finding only where its words leave no doubt. Doubt in the report, two
kinds of tumour, one whose kind is not said, a treated one, or silence send it to
people, by a reading list.

English and German words are looked for in every report, so that nobody has to say in
which it is written. The way of looking follows NegEx (Chapman et al. 2001) and ConText
(Harkema et al. 2009): a trigger holds from where it stands to the end of its sentence,
or to a word that ends it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens.errors import DatasetError, MissingFileError, OutputError
from tumorlens.statistics import share_figure
from tumorlens.taxonomy import Finding, Lesion, TumorClass, parse_class


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?:{item})" for item in patterns), re.IGNORECASE)


FINDINGS: tuple[tuple[Finding, re.Pattern[str]], ...] = (
    (
        Lesion.OTHER,
        _any(
            r"\b(?:para|neuro)?gangliogliom\w*|\bparagangliom\w*|\bneuroepithelial\w*",
            r"\bmetasta[st]\w*|\bmetastatic\b|\bmetastasen\w*|\bhirnmetast\w*",
            r"\b\w*(?:lymphom|schwannom|neurinom|neuroma\b|medulloblastom)\w*",
            r"\b\w*(?:ependymom|craniopharyng|kraniopharyng|germinom|neurocytom)\w*",
            r"\b\w*(?:pineoblastom|pineo[cz]ytom|h[äa]+e?mangioblastom|chordom)\w*",
            r"\b\w*(?:papillom|karzinom|carcinom|sar[ck]om|teratom|granulom)\w*",
            r"\b\w*abs[cz]ess\w*|\btuber[ck]ulom\w*|\bdnet\b|\bdysembryoplasti\w*",
        ),
    ),
    (
        TumorClass.GLIOMA,
        _any(
            r"\b\w*(?:gliom|glioblastom|astro[cz]ytom)\w*",
            r"\bgbm\b|\bdipg\b",
        ),
    ),
    (TumorClass.MENINGIOMA, _any(r"\b\w*mening[ei]om\w*")),
    (
        TumorClass.PITUITARY,
        _any(
            r"\b\w*(?:[mM]i[ck]ro|[mM]a[ck]ro)adenom\w*|\b\w*prola[ck]tinom\w*",
            r"\bpitnets?\b|\bhypophysen\w*(?:adenom|tumor)\w*",
            r"\bpituitary (?:[\w-]+ ){0,3}?(?:adenoma|tumou?r|neoplasm)s?\b",
        ),
    ),
    (
        Lesion.VASCULAR,
        _any(
            r"\b\w*infar[ck]t\w*|\bstrokes?\b|\bschlaganf[aä]ll\w*|\bhirninsult\w*",
            r"\bisch[aä]*e?mi\w*|\bh[aä]*e?morrhag\w*|\bbleed(?:ing|s)?\b",
            r"\b\w*blutung(?:en)?\b|\bh[aä]*e?matom\w*",
        ),
    ),
)
"""Named findings, in the order in which words are given to them."""

ADENOMA = _any(r"\badenom\w*")
SELLA = _any(r"pituitar", r"hypophys", r"\bsell[aä]", r"\bsella")
"""An adenoma is one of the pituitary in a report that speaks of it."""

UNNAMED = _any(
    r"\bmass(?:es)?\b(?!\s+effect)|\btumou?rs?\b|\w*tumor(?:s|e|en)?\b",
    r"\bneoplas\w*|\bmalignan\w*|\bneubildung\w*|\braumforderung\w*",
    r"\b(?:space|raum)[- ]?(?:occupying|fordernd)\w*",
    r"\benhancing (?:lesion|nodule|focus|foci)s?\b",
    r"\b(?:abnormal|patholog\w+) (?:\w+ )?(?:enhancement|kontrastmittel\w*|km\b)",
)
"""A tumour whose kind is not said."""

NORMAL = _any(
    r"\bnormal (?:mri?|brain|head|study|examination|appearance|intracranial)\b",
    r"\b(?:mri?|study|examination|scan|brain|head|parenchyma|gland)\b"
    r"[^.;]{0,60}?\b(?:is|are|was) (?:\w+ )?(?:normal|unremarkable|negative)\b",
    r"\bunremarkable\b|\bwithin normal limits\b|\bnormalbefund\w*",
    r"\bno (?:\w+ ){0,2}(?:intracranial )?abnormalit(?:y|ies)\b",
    r"\bunauff[aä]llig\w*|\bregelrecht\w*|\baltersentsprechend\w*",
)
"""Says that what was looked at is normal."""

UNEXPLAINED = _any(
    r"\blesions?\b|\bl[aä]sion\w*|\bhyper[- ]?intens\w*|\bhypo[- ]?intens\w*",
    r"\benhanc(?:es|ing)\b|\bsignal (?:change|abnormalit)\w*|\bsignalalteration\w*",
)
"""Something is seen, and what it is may not be said."""

PSEUDO = _any(
    r"\bno (?:significant |interval |relevant )*(?:change|increase|growth|progress\w*)",
    r"\bnot? (?:significantly )?(?:enlarged|changed|increased|grown|only|further)\b",
    r"\bkeine?\w* (?:\w+ )?(?:gr[oö][sß]+en|[aä]nderung|ver[aä]nderung|progress)\w*",
    r"\bnicht (?:\w+ )?(?:gr[oö][sß]+en\w*|ver[aä]ndert|nur)\b",
    r"\bwithout (?:\w+ )?change\b|\bohne [aä]nderung\b",
)
"""Looks like a negation and is none."""

NEGATION_BEFORE = _any(
    r"\b(?:no|not|without|neither|nor|never|absence of|free of|negative for)\b",
    r"\b(?:rules?|ruled) out\b|\bexcludes?\b|\blacks?\b",
    r"\bkein(?:e|en|er|em|es)?\b|\bohne\b|\bnicht\b|\bweder\b|\bfrei von\b",
    r"\bausschlu(?:ss|ß)\b",
)
NEGATION_AFTER = _any(
    r"\b(?:is|are|was|were|been) (?:\w+ )?(?:excluded|ruled out|absent)\b",
    r"\b(?:not|cannot be|can not be|no longer) (?:\w+ )?(?:seen|present|identified|"
    r"demonstrated|visible|visuali[sz]ed|detected|found|reproduced|confirmed|apparent)\b",
    r"\bnicht (?:mehr )?(?:nachweisbar|abgrenzbar|erkennbar|vorhanden|sichtbar|"
    r"darstellbar|zu sehen|best[aä]tigt)\b",
    r"\b(?:ist|sind|wurde|wurden) (?:\w+ )?ausgeschlossen\b",
)

OPEN = _any(
    r"\b(?:can)?not (?:\w+ )?(?:be )?(?:\w+ )?(?:excluded?|ruled? out)\b",
    r"\bnicht (?:\w+ )?(?:ausgeschlossen|auszuschlie(?:ß|ss)en)\b",
    r"\bnicht (?:\w+ )?ausschlie(?:ß|ss)en\b",
    r"\bversus\b|\bdd\b|\bdifferential\w*|\bdifferen[zt]ialdiagn\w*",
    r"\bless likely\b|\bconsider(?:ed|ation)?\b|\bdenkbar\b|\bwould\b|\bmimic\w*",
)
"""Leaves it open, wherever in the sentence it stands, whatever else is said."""

UNCERTAIN_BEFORE = _any(
    r"\bpossib(?:le|ly|ility)\b|\bprobab(?:le|ly)\b|\blikely\b|\bquestion\w*",
    r"\bsuspect\w*|\bsuspicious\b|\bsuspicion\b|\bconcerning for\b|\bmay\b|\bmight\b",
    r"\bcould\b|\bpresum\w*|\bindeterminate\b|\bnonspecific\b|\bequivocal\b",
    r"\bappears? to be\b|\bsuggest\w*|\braises?\b|\?",
    r"\bm[oö]glich\w*|\bfraglich\w*|\bverd[aä]cht\w*|\bwahrscheinlich\w*",
    r"\bvermutlich\w*|\bam ehesten\b|\beher\b|\bunklar\w*|\bk[oö]nnte\b|\bzum aus",
)

SCOPE_ENDS = _any(
    r"\b(?:but|however|although|though|except|apart from|yet)\b",
    r"\b(?:consistent|compatible|in keeping|typical|in line) (?:with|of|for)\b",
    r"\b(?:aber|jedoch|sondern|au(?:ß|ss)er|hingegen|dagegen)\b",
    r"\b(?:vereinbar|passend|typisch|charakteristisch) (?:mit|zu|f[uü]r)\b",
    r"\bim sinne\b",
)

TREATED = _any(
    r"\bstatus post\b|\bs/p\b|\bpost[- ]?(?:operative|surgical|treatment|resection)\w*",
    r"\b(?:after|following) (?:\w+ ){0,3}?(?:resection|removal|surgery|excision)\b",
    r"\bresected\b|\bresection (?:cavity|bed|margin)\b|\brecurren\w*|\bresidual\b",
    r"\bzustand nach\b|\bpostoperativ\w*|\boperiert\w*|\breseziert\w*",
    r"\b\w*resektion\w*|\brezidiv\w*|\b\w+operation\b",
    r"\bradiation necrosis\b|\bstrahlennekrose\b",
)
"""The tumour was treated: what is left, a person has to say."""

RELATIVES = _any(
    r"\b(?:grand)?(?:mother|father)\b|\b(?:sister|brother|aunt|uncle)\b",
    r"\bfamily history\b|\bfamilienanamnes\w*",
    r"\b(?:gro(?:ß|ss))?(?:mutter|vater)\b|\b(?:schwester|bruder|tante|onkel)\b",
)

ASIDE_HEADINGS = (
    *("clinical information", "clinical history", "clinical indication", "history"),
    *("indication", "reason for exam", "reason for examination", "question"),
    *("technique", "comparison", "protocol", "recommendation"),
    *("klinische angaben", "klinik", "fragestellung", "anamnese", "indikation"),
    *("technik", "vergleich", "voruntersuchung", "voraufnahmen", "empfehlung"),
)
"""Headings of parts that say nothing of what the pictures show."""

FINDING_HEADINGS = ("findings", "report", "brain", "sella", "hypophyse", "befund")
IMPRESSION_HEADINGS = (
    *("impression", "conclusion", "opinion", "summary"),
    *("beurteilung", "zusammenfassung", "diagnose"),
)

ABBREVIATIONS = (
    (re.compile(r"\bV\.\s*a\.", re.IGNORECASE), "Verdacht auf"),
    (re.compile(r"\bZ\.\s*n\.", re.IGNORECASE), "Zustand nach"),
    (re.compile(r"\bZ\.\s*A\."), "zum Ausschluss"),
    (re.compile(r"\bi\.\s*S\.", re.IGNORECASE), "im Sinne"),
    (re.compile(r"\bDD[:.]?(?=\s)"), "DD"),
    (re.compile(r"\bvs\.?", re.IGNORECASE), "versus"),
    (
        re.compile(
            r"\b(?:ca|bzw|dr|prof|approx|cf|z\.\s*b|e\.g|i\.e)\.", re.IGNORECASE
        ),
        "",
    ),
)
"""Stops that end no sentence, and what is read in their place."""


EXCLUDED = "exclude"
"""A reader's answer for a report that says nothing that can be used."""

LABEL_COLUMNS = ("id", "label", "lesion", "by", "reason")
READING_COLUMNS = ("id", "reason", "proposed", "sentence", "text", "answer", "reader")


class Reason(StrEnum):
    """Why a report has its finding, or has to be read."""

    STATED = "stated"
    EXCLUDED = "tumour excluded, or normal"
    UNCERTAIN = "uncertain wording"
    SEVERAL = "several kinds"
    UNNAMED = "kind not stated"
    TREATED = "treated tumour"
    CONFLICT = "findings and impression differ"
    SILENT = "nothing said"


@dataclass(frozen=True)
class ReportLabel:
    """What the rules make of a report.

    Parameters
    ----------
    finding
        The finding; where a person has to read it, the one that is proposed, or None.
    reason
        Why.
    sentence
        The sentence that it rests on; empty where there is none.
    """

    finding: Finding | None
    reason: Reason
    sentence: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the finding can stand without a person."""
        return self.reason in (Reason.STATED, Reason.EXCLUDED)


class _State(StrEnum):
    AFFIRMED = "affirmed"
    NEGATED = "negated"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class _Mention:
    """A finding in a sentence; None for a tumour whose kind is not said."""

    finding: Finding | None
    state: _State
    sentence: str


@dataclass(frozen=True)
class _Reading:
    """What stands in a part of a report."""

    mentions: tuple[_Mention, ...]
    normal: str
    treated: str
    unexplained: str


def label_report(text: str) -> ReportLabel:
    """Label a report by its words.

    Parameters
    ----------
    text
        The report, English or German, with or without headings. What stands under
        headings such as *Indication* or *Fragestellung* is passed over.

    Returns
    -------
    ReportLabel
        By the impression where there is one and it leaves no doubt, else by the whole
        report.
    """
    findings, impression = _parts(text)
    is_of_sella = SELLA.search(text) is not None
    whole = _judged(_read(f"{findings}\n{impression}", is_of_sella))
    if not impression.strip():
        return whole
    short = _judged(_read(impression, is_of_sella))
    if not short.is_sure:
        return short if whole.is_sure and short.reason is not Reason.SILENT else whole
    stated = {
        item.finding
        for item in _read(findings, is_of_sella).mentions
        if item.state is _State.AFFIRMED and item.finding not in (None, Lesion.VASCULAR)
    }
    if stated - {short.finding}:
        return ReportLabel(short.finding, Reason.CONFLICT, short.sentence)
    return short


def _parts(text: str) -> tuple[str, str]:
    """Split a report into what was seen and what was concluded; asides go."""
    names = (
        *ASIDE_HEADINGS,
        *FINDING_HEADINGS,
        *IMPRESSION_HEADINGS,
    )
    heading = re.compile(
        rf"(?:^|(?<=[.?!;\n])\s*)\s*({'|'.join(map(re.escape, names))})\s*:",
        re.IGNORECASE,
    )
    findings, impressions, place, name = [], [], 0, ""
    for match in [*heading.finditer(text), None]:
        part = text[place : None if match is None else match.start()]
        if name in IMPRESSION_HEADINGS:
            impressions.append(part)
        elif name not in ASIDE_HEADINGS:
            findings.append(part)
        if match is not None:
            place, name = match.end(), match.group(1).lower()
    return "\n".join(findings), "\n".join(impressions)


def _read(text: str, is_of_sella: bool) -> _Reading:
    mentions: list[_Mention] = []
    normal = treated = unexplained = ""
    for sentence in _sentences(text):
        if RELATIVES.search(sentence):
            continue
        mentions += _mentions(sentence, is_of_sella)
        if NORMAL.search(sentence):
            normal = normal or sentence
        if TREATED.search(sentence):
            treated = treated or sentence
        for match in UNEXPLAINED.finditer(sentence):
            if _state(sentence, *match.span()) is not _State.NEGATED:
                unexplained = unexplained or sentence
    return _Reading(tuple(mentions), normal, treated, unexplained)


def _sentences(text: str) -> list[str]:
    for pattern, instead in ABBREVIATIONS:
        text = pattern.sub(instead, text)
    parts = re.split(r"(?<=[.!?;])\s+|\n+", text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def _mentions(sentence: str, is_of_sella: bool) -> Iterator[_Mention]:
    taken = [False] * len(sentence)
    patterns: list[tuple[Finding | None, re.Pattern[str]]] = [*FINDINGS]
    if is_of_sella:
        patterns.append((TumorClass.PITUITARY, ADENOMA))
    patterns.append((None, UNNAMED))
    for finding, pattern in patterns:
        for match in pattern.finditer(sentence):
            span = slice(match.start(), match.end())
            if any(taken[span]):
                continue
            taken[span] = [True] * (match.end() - match.start())
            yield _Mention(finding, _state(sentence, *match.span()), sentence)


def _state(sentence: str, start: int, end: int) -> _State:
    if OPEN.search(sentence):
        return _State.UNCERTAIN
    before, after = sentence[:start], sentence[end:]
    ends = [match.end() for match in SCOPE_ENDS.finditer(before)]
    before = PSEUDO.sub("", before[max(ends, default=0) :])
    stop = SCOPE_ENDS.search(after)
    after = after[: None if stop is None else stop.start()]
    if NEGATION_BEFORE.search(before) or NEGATION_AFTER.search(after):
        return _State.NEGATED
    if UNCERTAIN_BEFORE.search(before) or "?" in after:
        return _State.UNCERTAIN
    return _State.AFFIRMED


def _judged(reading: _Reading) -> ReportLabel:
    by_state = {
        state: [item for item in reading.mentions if item.state is state]
        for state in _State
    }
    # A bleeding or an infarct beside a tumour is the tumour's picture.
    tumors = [
        item
        for item in by_state[_State.AFFIRMED]
        if item.finding is not Lesion.VASCULAR
    ]
    named = {item.finding: item.sentence for item in tumors if item.finding is not None}
    doubts = [
        item
        for item in by_state[_State.UNCERTAIN]
        if item.finding is not Lesion.VASCULAR and item.finding not in named
    ]
    first = next(iter(named), None)
    if reading.treated and (reading.mentions or first):
        return ReportLabel(first, Reason.TREATED, reading.treated)
    if first is not None and len(named) > 1:
        return ReportLabel(None, Reason.SEVERAL, named[first])
    kinds = [item for item in doubts if item.finding is not None]
    if kinds or (doubts and first is None):
        doubt = (kinds or doubts)[0]
        return ReportLabel(first or doubt.finding, Reason.UNCERTAIN, doubt.sentence)
    if first is not None:
        return ReportLabel(first, Reason.STATED, named[first])
    if tumors:
        return ReportLabel(None, Reason.UNNAMED, tumors[0].sentence)
    return _without_tumor(reading, by_state)


def _without_tumor(
    reading: _Reading, by_state: Mapping[_State, Sequence[_Mention]]
) -> ReportLabel:
    # All that is left to be affirmed or in doubt is vascular.
    if by_state[_State.AFFIRMED]:
        sentence = by_state[_State.AFFIRMED][0].sentence
        return ReportLabel(Lesion.VASCULAR, Reason.STATED, sentence)
    if by_state[_State.UNCERTAIN]:
        sentence = by_state[_State.UNCERTAIN][0].sentence
        return ReportLabel(Lesion.VASCULAR, Reason.UNCERTAIN, sentence)
    denied = [
        item.sentence
        for item in by_state[_State.NEGATED]
        if item.finding is not Lesion.VASCULAR
    ]
    if reading.unexplained and not denied:
        return ReportLabel(None, Reason.UNNAMED, reading.unexplained)
    if denied or reading.normal:
        sentence = denied[0] if denied else reading.normal
        return ReportLabel(TumorClass.NO_TUMOR, Reason.EXCLUDED, sentence)
    return ReportLabel(None, Reason.SILENT)


# --- Lists of reports, and of what people said of them ---


@dataclass(frozen=True)
class Report:
    """A report of a list.

    Parameters
    ----------
    id
        Whatever tells it from the others, such as an accession number.
    text
        The report.
    truth
        What a person said that it says, where the list has such a column.
    """

    id: str
    text: str
    truth: str = ""


def read_reports(
    path: Path, id_column: str = "id", text_column: str = "text", truth_column: str = ""
) -> list[Report]:
    """Read a list of reports (CSV in UTF-8).

    Parameters
    ----------
    path
        The list.
    id_column, text_column, truth_column
        Its columns; no truth where the last is empty.

    Raises
    ------
    MissingFileError
        There is no such file.
    DatasetError
        It cannot be read, a column is missing, or an id is empty or stands there twice.
    """
    rows = _rows(path, [id_column, text_column, *([truth_column] * bool(truth_column))])
    reports: dict[str, Report] = {}
    for number, row in enumerate(rows, 2):
        name = row[id_column].strip()
        if not name or name in reports:
            raise DatasetError(
                f"{path}, report {number - 1}: the id {name!r} is "
                f"{'not the only one' if name else 'empty'}.",
                "Give each report an id of its own.",
            )
        truth = row[truth_column].strip() if truth_column else ""
        reports[name] = Report(name, row[text_column], truth)
    return list(reports.values())


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise MissingFileError(f"There is no list of reports at {path}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows = [{**row} for row in reader]
            names = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} cannot be read as CSV: {error}.", "Save it as CSV in UTF-8."
        ) from error
    for column in needed:
        if column not in names:
            raise DatasetError(
                f"{path} has no column '{column}', only {', '.join(names) or 'none'}.",
                "Name the columns of ids and texts.",
            )
    if not rows:
        raise DatasetError(f"{path} has no rows.", "Add one row for each report.")
    return rows


def parse_finding(text: str) -> Finding | None:
    """Read a finding by any spelling of its class, or its lesion; None for no such."""
    word = text.strip().lower()
    return Lesion(word) if word in list(Lesion) else parse_class(word)


def read_answers(path: Path) -> dict[str, tuple[Finding | None, str]]:
    """Read a reading list that people have filled in.

    Parameters
    ----------
    path
        The list that `write_reading_list` wrote, with the column ``answer`` filled.

    Returns
    -------
    dict
        By id the finding, None for `EXCLUDED`, and the reader. Rows without an answer
        are left out.

    Raises
    ------
    MissingFileError, DatasetError
        See `read_reports`; also where an answer is no finding.
    """
    answers: dict[str, tuple[Finding | None, str]] = {}
    for row in _rows(path, ["id", "answer"]):
        answer = row["answer"].strip()
        if not answer:
            continue
        finding = parse_finding(answer)
        if finding is None and answer.lower() != EXCLUDED:
            raise DatasetError(
                f"{path}: the answer {answer!r} for {row['id']} is no finding.",
                f"Use {', '.join([*TumorClass, *Lesion, EXCLUDED])}.",
            )
        answers[row["id"].strip()] = (finding, row.get("reader", "").strip())
    return answers


def write_labels(
    path: Path,
    labels: Mapping[str, ReportLabel],
    answers: Mapping[str, tuple[Finding | None, str]],
) -> int:
    """Write what is sure, by rules or by people, as CSV; say how many rows there are.

    Parameters
    ----------
    path
        Columns of `LABEL_COLUMNS`; ``label`` and ``lesion`` as in a manifest.
    labels
        What the rules made of each report, by id.
    answers
        What people said; it goes before the rules.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    rows = []
    for name, label in labels.items():
        finding = label.finding if label.is_sure else None
        by, reason = "rules", str(label.reason)
        if name in answers:
            finding, reader = answers[name]
            by, reason = reader or "reader", "read"
        if finding is not None:
            cells = [finding, ""] if isinstance(finding, TumorClass) else ["", finding]
            rows.append((name, *cells, by, reason))
    _write(path, LABEL_COLUMNS, rows)
    return len(rows)


def write_reading_list(
    path: Path,
    reports: Sequence[Report],
    labels: Mapping[str, ReportLabel],
    answers: Mapping[str, tuple[Finding | None, str]],
) -> int:
    """Write the reports that people have to read, as CSV; say how many there are.

    Parameters
    ----------
    path
        Columns of `READING_COLUMNS`; ``answer`` and ``reader`` are empty.
    reports, labels
        All reports, and what the rules made of each.
    answers
        Who has an answer is not listed again.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    rows = []
    for report in reports:
        label = labels[report.id]
        if not label.is_sure and report.id not in answers:
            proposed = label.finding or ""
            rows.append(
                (report.id, label.reason, proposed, label.sentence, report.text, "", "")
            )
    _write(path, READING_COLUMNS, rows)
    return len(rows)


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def measure_labels(
    reports: Sequence[Report], labels: Mapping[str, ReportLabel]
) -> dict[str, Any]:
    """Compare the rules with what people said of the same reports.

    Parameters
    ----------
    reports
        Those without `Report.truth` do not count. A truth that is no finding, such as
        ``read``, means that a person could not tell either.
    labels
        What the rules made of each, by id.

    Returns
    -------
    dict
        Plain JSON (schema ``tumorlens-report-labels/1``): ``reports``; the share that
        the rules are ``sure`` of; the share of these that is ``right``; of reports that
        nobody can tell, the share sent to be ``read``; each with its 95 % interval;
        by finding ``count``, ``sure``, ``found`` and ``precision``; and ``wrong``: the
        ids of sure labels that people do not share.
    """
    judged = [item for item in reports if item.truth]
    if not judged:
        raise DatasetError(
            "No report says what a person made of it.", "Fill the column of the truth."
        )
    truths = [parse_finding(item.truth) for item in judged]
    made = [labels[item.id] for item in judged]
    is_sure = np.array([label.is_sure for label in made])
    is_right = np.array(
        [label.finding == truth for label, truth in zip(made, truths, strict=True)]
    )
    is_open = np.array([truth is None for truth in truths])
    ids = [item.id for item in judged]

    def share(hits: Any, rows: Any) -> Any:  # noqa: ANN401 - arrays of (N,)
        chosen = np.flatnonzero(rows)
        return share_figure(hits[chosen], [ids[row] for row in chosen])

    by_finding: dict[str, Any] = {}
    for finding in sorted({truth for truth in truths if truth is not None}):
        of_it = np.array([truth == finding for truth in truths])
        said = np.array([label.finding == finding for label in made]) & is_sure
        by_finding[str(finding)] = {
            "count": int(of_it.sum()),
            "sure": share(is_sure, of_it),
            "found": share(said, of_it),
            "precision": share(is_right, said),
        }
    return {
        "schema": "tumorlens-report-labels/1",
        "reports": len(judged),
        "sure": share(is_sure, np.ones(len(judged), bool)),
        "right": share(is_right & ~is_open, is_sure),
        "read": share(~is_sure, is_open),
        "findings": by_finding,
        "wrong": [
            name
            for name, sure, right, left in zip(
                ids, is_sure, is_right, is_open, strict=True
            )
            if sure and (left or not right)
        ],
    }
