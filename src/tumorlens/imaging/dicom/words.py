"""Body part and MR sequence as the words of a DICOM header state them.

Words of the series come before those of the exam: a protocol may name all that is
done in one visit. What the scanner did (times, kind of sequence) stands between.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tumorlens.errors import InputError
from tumorlens.imaging.dicom.header import numbers, text
from tumorlens.imaging.study import MRSequence

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MODALITIES = {
    "CT": "computed tomography (CT)",
    "CR": "a radiograph (CR)",
    "DX": "a radiograph (DX)",
    "MG": "a mammogram (MG)",
    "US": "ultrasound (US)",
    "NM": "nuclear medicine (NM)",
    "PT": "positron emission tomography (PT)",
    "XA": "angiography (XA)",
    "SR": "a report (SR)",
    "SEG": "a segmentation (SEG)",
    "OT": "of another modality (OT)",
    "PR": "a presentation state (PR)",
    "KO": "a selection of images (KO)",
    "DOC": "a document (DOC)",
    "REG": "a registration (REG)",
    "RTSTRUCT": "outlines of structures (RTSTRUCT)",
    "RTDOSE": "a dose (RTDOSE)",
    "RTPLAN": "a plan of radiotherapy (RTPLAN)",
}

_MR = frozenset(("", "MR", "MRI", "NMR", "RM", "IRM", "MRT"))
"""The modality, as the standard, converters and other languages write it; many files
lack it."""

_NO_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.4.2": "a spectrum (MR spectroscopy)",
    "1.2.840.10008.5.1.4.1.1.66": "raw data of a scanner",
}
"""Classes of objects under the modality MR that hold no picture."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CONVERSIONS = ("SYN", "WSD", "DI")
"""ConversionType of what a program wrote; others are of films, videos, drawings and
scanned paper (PS3.3 C.8.6.1)."""

_CAPTURES = frozenset(
    ("SCREENSAVE", "SCREENSAVES", "SCREENCAPTURE", "SCREENSHOT", "SECONDARYCAPTURE")
)

# Words of CID 4030, of what sites write instead, and of other languages, without
# their accents.
_OTHER_PARTS = {
    "abdomen": "ABDOMEN ABDOMINAL ABD BAUCH VENTRE ADDOME BRZUCH KARIN",
    "ankle": "ANKLE SPRUNGGELENK CHEVILLE TOBILLO CAVIGLIA TORNOZELO",
    "arm": "ARM UPPERARM FOREARM HUMERUS RADIUS ULNA UNTERARM OBERARM BRAS BRAZO",
    "breast": "BREAST MAMMA BRUST SEIN SENO MAMA",
    "chest": "CHEST THORAX TORAX TORACE BRUSTKORB LUNG LUNGE POUMON PULMON",
    "elbow": "ELBOW ELLENBOGEN COUDE CODO GOMITO COTOVELO DIRSEK",
    "extremity": "EXTREMITY EXTREMITAT",
    "foot": "FOOT FUSS FUS PIED PIE PIEDE AYAK CALCANEUS TOE",
    "hand": "HAND MAIN MANO MAO FINGER THUMB",
    "heart": "HEART HERZ COEUR CORAZON CUORE CORACAO CARDIAC KALP",
    "hip": "HIP HIPS HUFTE HUEFTE HANCHE CADERA ANCA QUADRIL KALCA BIODRO",
    "kidney": "KIDNEY NIERE REIN RINON RENE RIM",
    "knee": "KNEE KNIE GENOU RODILLA GINOCCHIO JOELHO DIZ KOLANO",
    "leg": "LEG CALF THIGH FEMUR TIBIA FIBULA BEIN JAMBE PIERNA GAMBA PERNA",
    "liver": "LIVER LEBER FOIE HIGADO FEGATO FIGADO MRCP PANCREAS",
    "pelvis": "PELVIS BECKEN BASSIN PELVI BACINO MIEDNICA RECTUM",
    "prostate": "PROSTATE PROSTATA",
    "shoulder": "SHOULDER SCHULTER EPAULE HOMBRO SPALLA OMBRO OMUZ CLAVICLE",
    "spine": (
        "SPINE CSPINE TSPINE LSPINE SSPINE CTSPINE TLSPINE LSSPINE CERVICALSPINE "
        "THORACICSPINE LUMBARSPINE SPINAL LUMBAR LUMBOSACRAL SACRUM WIRBELSAULE "
        "WIRBELSAEULE HWS BWS LWS RACHIS COLUMNA COLONNA COLUNA RACHIDE KREGOSLUP"
    ),
    "uterus": "UTERUS UTERO",
    "wrist": "WRIST HANDGELENK POIGNET MUNECA POLSO PUNHO",
}
_PARTS = {word: part for part, words in _OTHER_PARTS.items() for word in words.split()}

_HEAD_WORDS = frozenset(
    word
    for line in (
        "HEAD BRAIN SKULL CRANIUM CRANIAL CEREBRAL CEREBRUM CEREBELLUM NEURO",
        "PITUITARY SELLA HYPOPHYSIS IAC IAM ORBIT ORBITS HEADNECK WHOLEBODY",
        "WHOLEBRAIN KOPF SCHADEL SCHAEDEL HIRN GEHIRN HYPOPHYSE NEUROCRANIUM TETE",
        "CERVEAU CRANE ENCEPHALE HYPOPHYSAIRE CABEZA CEREBRO CRANEO ENCEFALO",
        "HIPOFISIS SILLA CABECA CRANIO HIPOFISE TESTA CERVELLO ENCEFALICO IPOFISI",
        "HIPOFIZ BEYIN KAFA GLOWA MOZG HLAVA MOZEK HJARNA HUVUD HERSENEN HOOFD",
        "SCHEDEL HIPOCAMPO HIPPOCAMPUS BRAINSTEM MENINGES TEMPORAL",
    )
    for word in line.split()
)

_AMBIGUOUS_PARTS = frozenset(
    word
    for line in (
        # Arms of a trial, the hippocampus, gating, tasks of a functional series, and
        # words that mean something else in another language.
        "ARM LEG HAND MAIN RADIUS ULNA CALF TOE HIP HIPS CARDIAC HEART PIE PIED FUS",
        "DIZ RIM REIN RENE BRAS SEIN SENO MAMA MAO MANO ANCA VENTRE COLONNA POLSO",
        "COLUMNA COLUNA SPINAL FINGER THUMB FOOT FUSS",
    )
    for word in line.split()
)
"""Words of other parts that a description may mean otherwise."""

_PRIMARY_TUMOURS = frozenset(
    word
    for part in ("breast", "chest", "kidney", "liver", "prostate", "uterus")
    for word in _OTHER_PARTS[part].split()
)
"""Words by which a study of the head may name where its metastases come from."""

_HEAD_SIGNS = re.compile("头|頭|颅|脑|脳|腦|垂体|下垂体|뇌|두부|ГОЛОВ|МОЗГ|ГИПОФИЗ")
_OTHER_SIGNS = re.compile(
    "膝|肩|腕|腰椎|颈椎|頚椎|頸椎|胸椎|骨盆|前列腺|前立腺|乳腺|肝|무릎|어깨|요추|경추"
    "|КОЛЕН|ПЛЕЧ|ПОЗВОНОЧ|ТАЗА|ПЕЧЕН"
)
_OF_BRAINS = re.compile(r"FLAIR|MP-?RAGE|BRAVO|DWI")
"""Series that hardly anything but a head is scanned by."""

_LOCALISER = re.compile(
    r"LOCALI[SZ]\w*|LOKALI[SZ]\w*|SCOUTS?|SURVEYS?|TOPOGRAMM?|PILOT|REPERAGE|LOCS?|"
    r"LOKAL|AAHSCOUT|SMARTBRAIN|PLANSCAN"
)
_THREE_PLANES = re.compile(r"\b(3|THREE|TRI) ?PL(ANE|ANES|N|ANAR)?\b|\bTRIPLANAR\b")

_DIFFUSION = re.compile(r"DWI|DTI|DIFF|\bADC\b|TRACEW|EP_B\d|\bEP B\d")
_OTHER = re.compile(
    r"T2\*|T2[ -]?STAR|\bHEMO\b|T2[ W]*FFE|SWI|SWAN|PERF|\bTOF\b"
    r"|ANGIO|MRA\b|BOLD|FMRI|\bPD\b|FIELD|PHASE|SPECTRO"
    r"|\bMRV\b|VENOGR|\bP?C?ASL\b|RESTING"
)
_STEADY_STATE = re.compile(r"FIESTA|\bCISS\b|TRUFI|TRUE ?FISP|\bB-?(FFE|TFE)\b")
"""Sequences weighted by T2 over T1, where no word says which they are taken for."""

_FLAIR = re.compile(r"FLAIR|DARK[ _-]?FL(UID)?\b|\bFLUID ATT")
_DENSITY = re.compile(r"\bPD\b")
_T1 = re.compile(r"T1|MP-?RAGE|MEMPRAGE|SPGR|BRAVO|FSPGR|VIBE|THRIVE")
_OF_AN_OPERATION = (
    r"(?![ -]*((DE|DEL|DO|DA|DER|LA|L)[ -]+)*(OP|SURG|CIRU|CHIR|INTERV|ОПЕР|FOSSA"
    r"|CRANI|RT\b|RAD|CHEMO|TX\b|TRAUMA|BIOPS|RESEC|TREAT))"
)
"""What follows a word for before or after that means no contrast agent."""

_BEFORE = (
    "PRE|BEFORE|PRIOR|VOR|ANTES|AVANT|PRIMA|VOOR|FORE|FØR|FOER|PRZED|PRED|ENNEN|ELOTT"
    "|ONCESI|INAINTE|TRUOC|ДО|ПЕРЕД"
)
_AGENTS = r"(GD|GADO?\w*|KM|KL|CM|CE|C|CON|CONTR\w*)(?![A-Z])"
"""Words for a contrast agent, of several languages, and their end."""

# "W/O" has become "W O" here.
_PLAIN = re.compile(
    rf"\b({_BEFORE})\b{_OF_AN_OPERATION}|\bPRE-?{_AGENTS}|WITHOUT|\bNATIV|\bUN-?ENH"
    rf"|\bW *O\b|-C\b|(?<!POST )\b{_AGENTS}-(?![A-Z0-9])|\bO[. ]?KM\b"
    r"|\b(OHNE|SANS|SIN|SENZA|SEM|FARA|TANPA|NELKUL|ΧΩΡΙΣ)\b"
    r"|\b(BEZ|ZONDER|UTAN|UDEN|ILMAN|KONTRASTSIZ|SADE|S +C(ONTR\w*)?)\b"
    r"|БЕЗ|НАТИВ|平扫|平掃|単純|(造影|增强|增強|増強) ?前|造影なし|조영 ?전"
    r"|\bNON?[ -]*(GD|GAD|CONTR|ENH|INJ|(CE|KM)\b)"
)
_CONTRAST = re.compile(
    rf"(?<![A-Z])(GD|GADO?\w*|POST{_OF_AN_OPERATION}|CE|KM|KONTR?AS\w*|CONTRAST\w*)"
    rf"(?![A-Z])|\bPOST-?{_AGENTS}|\bM[. ]?KM\b|\b(S|PO) KL\b"
    rf"|\+ ?[CK]\b|\b[CK]\+|T1C|(?<![A-Z])(MDC|CIV|INJ\w*"
    rf"|POS{_OF_AN_OPERATION}|POS-?GD|DOTAREM|PROHANCE|OMNISCAN"
    r"|MAGNEVIST|MULTIHANCE|CLARISCAN|GADAVIST|C C|ENHANCED|TEHOST\w*|TIEM)(?![A-Z])"
    r"|КОНТРАСТ|\bК[ВУ]\b|ΣΚΙΑΓΡΑΦ|增强|增強|増強|造影|조영"
)
_AND = r" *(&|AND|\+|,)? *"
_BOTH = re.compile(
    rf"\b(W *O{_AND}W|W{_AND}W *O|WITHOUT{_AND}WITH|WITH{_AND}WITHOUT)\b( *CON\w*)?"
)
"""An exam with and without contrast: of one of its series that says nothing."""

_STANDARD_CONTRASTS = {
    "T1": MRSequence.T1,
    "T2": MRSequence.T2,
    "FLUID_ATTENUATED": MRSequence.FLAIR,
    "FLAIR": MRSequence.FLAIR,
    "DIFFUSION": MRSequence.DIFFUSION,
    "PROTON_DENSITY": MRSequence.OTHER,
    "T2_STAR": MRSequence.OTHER,
    "PERFUSION": MRSequence.OTHER,
    "TAGGING": MRSequence.OTHER,
}
"""Values of AcquisitionContrast, of enhanced files (PS3.3 C.8.13.3.1.2)."""

_LONG_ECHO_MS = 60.0


def plain_words(words: str) -> list[str]:
    """Split text into words in capitals, without accents, digits standing apart."""
    apart = unicodedata.normalize("NFKD", words.replace("ß", "ss").upper())
    bare = "".join(char for char in apart if not unicodedata.combining(char))
    return re.findall(r"[A-Z]+|[0-9]+", bare)


def check_scope(header: Dataset, name: str) -> None:
    """Refuse what the model was not made for, with the reason.

    Missing tags pass: many files lack them.

    Raises
    ------
    InputError
        Where the modality is not MR, the picture is a capture or marked as a
        localiser, or the body part is clearly not the head.
    """
    modality = text(header, "Modality").upper()
    # Some senders list what else the study holds.
    if not _MR.intersection(modality.split("\\")):
        what = _MODALITIES.get(modality, "of another modality")
        hint = "Give an MR series."
        if modality == "OT":
            # Converters write so what they do not know.
            hint = "If it is MR, save it with the modality MR, or as NIfTI."
        raise InputError(f"{name} is {what}, not magnetic resonance (MR).", hint)
    other = _NO_PICTURES.get(text(header, "SOPClassUID"))
    if other is not None:
        raise InputError(f"{name} is {other}, and no picture.", "Give an MR series.")
    kind = text(header, "ImageType").upper()
    called = "".join(plain_words(text(header, "SeriesDescription")))
    if (
        (
            text(header, "SOPClassUID").startswith(_SECONDARY_CAPTURE)
            and not _is_converted(header)
        )
        or "SCREEN" in kind
        or called in _CAPTURES
    ):
        raise InputError(
            f"{name} is a screen capture, not an acquired slice.",
            "Give the series that it was taken from.",
        )
    if "LOCALIZER" in kind or "SCOUT" in kind:
        raise localiser_error(name)
    part = other_part(header)
    if part:
        raise InputError(
            f"{name} shows another body part ({part}), not the head.",
            "Give an MR series of the brain.",
        )


def _is_converted(header: Dataset) -> bool:
    """Tell slices that a converter saved as secondary captures from screen pictures.

    A screen has no place in the patient, and shows eight bits.
    """
    bits = numbers(header, "BitsStored", 1)
    samples = numbers(header, "SamplesPerPixel", 1) or (1.0,)
    return (
        bits is not None
        and bits[0] > 8
        and samples[0] == 1
        and numbers(header, "ImagePositionPatient", 3) is not None
        and numbers(header, "ImageOrientationPatient", 6) is not None
        and text(header, "ConversionType").upper() in _CONVERSIONS
    )


def localiser_error(name: str) -> InputError:
    """Say that a file or series only planned others."""
    return InputError(
        f"{name} is a localiser, taken to plan other series.",
        "Give a diagnostic series.",
    )


LOCALISER = "is a localiser, taken to plan other series"
"""The reason for which such a slice is not judged, as `Frame.aside` has it."""


def localiser_words(header: Dataset) -> str:
    """Tell by the series' own words whether it only planned others.

    A protocol may be called so after its first series: it counts where the series
    has no words of its own.

    Returns
    -------
    str
        `LOCALISER`, or empty.
    """
    description = text(header, "SeriesDescription") or text(header, "ProtocolName")
    words = plain_words(description)
    joined = " ".join(words)
    is_called_so = any(_LOCALISER.fullmatch(word) for word in words)
    # "Sagittal T1 (loc 3)" is a diagnostic series of a known weighting.
    has_weighting = bool(re.search(r"T1|T2|FLAIR|MPRAGE", description.upper()))
    if _THREE_PLANES.search(joined) or (is_called_so and not has_weighting):
        return LOCALISER
    return ""


_COMPUTED = {
    "a subtraction of two others": "SUBTRACT SUBTRACTION SUB",
    "a projection through others": "MIP MINIP MNIP MPR_MIP",
    "a map of computed values": (
        "ADC EADC FA TRACEMAP T1MAP T2MAP T2STARMAP R2MAP R2STARMAP CBF CBV RCBF RCBV "
        "MTT TTP TMAX KTRANS PBP GBP COLFA"
    ),
}
_COMPUTED_WORDS = {
    word: what for what, words in _COMPUTED.items() for word in words.split()
}


def computed_words(groups: Sequence[Dataset]) -> str:
    """Tell by the image type whether a picture was computed from others.

    Pictures that were only turned or cut anew (MPR) are pictures still.

    Parameters
    ----------
    groups
        The frame's own groups, the shared ones, then the data set.

    Returns
    -------
    str
        The end of a sentence that starts with the file's name; empty for what the
        scanner measured.
    """
    stated = (text(group, "FrameType") or text(group, "ImageType") for group in groups)
    kind = next((item for item in stated if item), "").upper()
    values = kind.split("\\")
    is_derived = values[:1] == ["DERIVED"]
    # Enhanced files may keep that word though each frame is a slice.
    if "MOSAIC" in values and len(groups) == 1:
        return "is a mosaic of the slices of a functional or diffusion series"
    if "PROJECTION IMAGE" in values[2:] and is_derived:
        return f"is {_COMPUTED_WORDS['MIP']}"
    for value in values[2:] if is_derived else ():
        what = _COMPUTED_WORDS.get(re.sub(r"[ _*]", "", value)) or _COMPUTED_WORDS.get(
            value
        )
        if what is not None:
            return f"is {what}"
    if "FAT" in values[2:] or (values[2:4] == ["F", "F"] and is_derived):
        return "shows fat alone"
    if "FMRI" in values[2:]:
        return FUNCTIONAL
    return _computed_by_name(groups[-1], is_derived, "ADC" in values)


FUNCTIONAL = "is a functional series"

_NAMED_MAPS = frozenset(
    (
        *("RCBF", "RCBV", "RELCBF", "RELCBV", "CBF", "CBV"),
        *("MTT", "TTP", "TMAX", "KTRANS", "EADC"),
    )
)
_MAP_NAMES = re.compile(
    r"APPARENT DIFF\w* COEF|\b(T[12]\*?|R2\*?|T2 ?STAR|FA|B0|B1|FIELD) ?MAPS?\b"
    r"|COLOU?R FA|FRACTIONAL ANISO|\bAVERAGE DC\b|MEAN DIFFUSIV"
)
_DIFFUSION_WORDS = frozenset(("DWI", "DIFF", "DTI", "EP", "TRACE", "TRACEW"))
_SUSCEPTIBILITY_PHASE = re.compile(
    r"\b(SWI|SWAN)\b.*\bPHA(SE)?\b|\bPHA IMAGES?\b|\bFILT(ERED)? ?PHA(SE)?\b"
)


def _computed_by_name(header: Dataset, is_derived: bool, is_adc: bool) -> str:
    """Tell by the series' own words whether its pictures were computed from others."""
    called = text(header, "SeriesDescription").upper()
    named = " ".join(re.findall(r"[A-Z0-9*]+", called))
    words = set(plain_words(called))
    is_map = bool(_NAMED_MAPS & words or _MAP_NAMES.search(named))
    # A diffusion series may be called after all that comes of it.
    if "ADC" in words:
        is_map |= is_derived or is_adc or not _DIFFUSION_WORDS & words
    is_map |= "FA" in words and (len(words) == 1 or bool(_DIFFUSION_WORDS & words))
    if is_map:
        return f"is {_COMPUTED_WORDS['ADC']}"
    if words & {"SUBTRACTION", "SUBTRACTED"} or (is_derived and "SUB" in words):
        return f"is {_COMPUTED_WORDS['SUB']}"
    if words & {"MIP", "MINIP", "MIPS"}:
        return f"is {_COMPUTED_WORDS['MIP']}"
    if _SUSCEPTIBILITY_PHASE.search(named):
        return "shows phase, not the strength of the signal"
    if not re.search(r"T[12]|FLAIR|MP ?RAGE", named):
        if words & {"BOLD", "FMRI"}:
            return FUNCTIONAL
        if words & {"ASL", "PCASL", "PASL"}:
            return "is a perfusion series"
    return ""


def other_part(header: Dataset) -> str:
    """Name the body part that a header states, in English; empty for the head.

    Whole words count. Where the part is another, and the series or the study is
    called one of the head, its name is believed: sites leave the part of the last
    patient in their protocols. Where no part is stated, what series and study are
    called tells it.
    """
    words = plain_words(text(header, "BodyPartExamined"))
    if _names_head(words):
        return ""
    one_word = "".join(words)
    part = next((_PARTS[word] for word in (*words, one_word) if word in _PARTS), "")
    if not words:
        return _described_part(header)
    if not part:
        return ""
    for keyword in _DESCRIPTIONS:
        name_words = plain_words(text(header, keyword))
        if any(word in _PARTS for word in name_words):
            return part
        if _names_head(name_words):
            return ""
    return part


_DESCRIPTIONS = ("SeriesDescription", "StudyDescription", "ProtocolName")


def _names_head(words: Sequence[str]) -> bool:
    return bool(_HEAD_WORDS.intersection(words)) or "WHOLEBODY" in "".join(words)


def _described_part(header: Dataset) -> str:
    """Name the body part by what series and study are called, if it is plain."""
    called = [text(header, keyword).upper() for keyword in _DESCRIPTIONS]
    words = [plain_words(item) for item in called]
    if any(map(_names_head, words)) or _HEAD_SIGNS.search(" ".join(called)):
        return ""
    clear = _PARTS.keys() - _AMBIGUOUS_PARTS
    for own in (words[0], words[2]):
        part = next((_PARTS[word] for word in own if word in clear), "")
        if part:
            return part
    if _OTHER_SIGNS.search(f"{called[0]} {called[2]}"):
        return _OF_OTHER_SIGNS
    if _OF_BRAINS.search(called[0]):
        return ""
    of_exams = clear - _PRIMARY_TUMOURS
    part = next((_PARTS[word] for word in words[1] if word in of_exams), "")
    return part or (_OF_OTHER_SIGNS if _OTHER_SIGNS.search(called[1]) else "")


_OF_OTHER_SIGNS = "by the name of its series or study"


def guess_sequence(header: Dataset) -> MRSequence | None:
    """Name the weighting: by the series' words, by the times, by the protocol's words.

    Parameters
    ----------
    header
        The header of one slice; echo, repetition and inversion time in ms.

    Returns
    -------
    MRSequence or None
        None where neither words nor times say it.
    """
    own = _said(header, "SeriesDescription")
    exam = f"{_said(header, 'ProtocolName')} {_said(header, 'SequenceName')}"
    marked = (
        f"{text(header, 'ImageType')} {text(header, 'AcquisitionContrast')}".upper()
    )
    b_value = numbers(header, "DiffusionBValue", 1)
    if "DIFFUSION" in marked or (b_value and b_value[0] > 0):
        return MRSequence.DIFFUSION
    weighting = _by_words(header, own, marked)
    if weighting is None:
        standard = text(header, "AcquisitionContrast").upper()
        weighting = _STANDARD_CONTRASTS.get(standard)
    if weighting is None:
        weighting = _by_times(header)
    if weighting is None:
        own = f"{own} {exam}"
        weighting = _by_words(header, own, marked)
    if weighting is MRSequence.T1 and _has_contrast(header, own, exam):
        return MRSequence.T1_CONTRAST
    return weighting


def _said(header: Dataset, keyword: str) -> str:
    apart = unicodedata.normalize("NFKD", text(header, keyword).upper())
    bare = "".join(char for char in apart if not unicodedata.combining(char))
    words = unicodedata.normalize("NFC", bare).replace("_", " ").replace("/", " ")
    # The Cyrillic letter looks alike.
    words = re.sub("Т(?=[12])", "T", words)
    return _BOTH.sub(" ", words)


def _by_words(header: Dataset, words: str, marked: str) -> MRSequence | None:
    if _DIFFUSION.search(words):
        return MRSequence.DIFFUSION
    fluid = _FLAIR.search(words) or "FLAIR" in marked
    if fluid and not _is_t1_flair(header, words):
        return MRSequence.FLAIR
    first, second = bool(_T1.search(words)), "T2" in words
    if _OTHER.search(words):
        # "PD T2" is a pair of echoes, of which the times tell this one.
        both = second and not _OTHER.search(_DENSITY.sub(" ", words))
        return MRSequence.OTHER if not both else _by_times(header) or MRSequence.OTHER
    if first == second:
        steady = not first and _STEADY_STATE.search(words)
        return MRSequence.OTHER if steady else None
    if first:
        return MRSequence.T1
    # A gradient echo of that name is weighted by T2*, and a long inversion by a
    # fluid's T1.
    timed = _by_times(header)
    return timed if timed in (MRSequence.FLAIR, MRSequence.OTHER) else MRSequence.T2


def _is_t1_flair(header: Dataset, words: str) -> bool:
    """Tell a T1 with an inversion, which GE also calls FLAIR, from what others do."""
    echo = numbers(header, "EchoTime", 1)
    short = not echo or echo[0] < _LONG_ECHO_MS
    return "T1" in words and "T2" not in words and short


def _by_times(header: Dataset) -> MRSequence | None:
    """Name the weighting by usual times at 1.5 and 3 T."""
    echo = numbers(header, "EchoTime", 1) or numbers(header, "EffectiveEchoTime", 1)
    repetition = numbers(header, "RepetitionTime", 1)
    inversion = numbers(header, "InversionTime", 1)
    scanning = text(header, "ScanningSequence").upper().split("\\")
    if echo is None or repetition is None or echo[0] <= 0:
        return None
    if "IR" in scanning and echo[0] >= _LONG_ECHO_MS:
        return MRSequence.FLAIR if inversion and inversion[0] >= 1500 else None
    if "EP" in scanning:
        return None
    if "IR" in scanning and echo[0] <= 30:
        return MRSequence.T1
    if "GR" in scanning:
        return _gradient_echo(header, echo[0], repetition[0], inversion)
    if "SE" in scanning:
        if echo[0] <= 35 and repetition[0] <= 1200:
            return MRSequence.T1
        if echo[0] >= 70 and repetition[0] >= 1800:
            return MRSequence.T2
        if echo[0] <= 35 and repetition[0] >= 1800 and inversion is None:
            return MRSequence.OTHER
    return None


def _gradient_echo(
    header: Dataset, echo: float, repetition: float, inversion: tuple[float, ...] | None
) -> MRSequence | None:
    flip = numbers(header, "FlipAngle", 1)
    if echo >= 15:
        return MRSequence.OTHER
    if inversion and 500 <= inversion[0] <= 1300 and echo <= 8:
        return MRSequence.T1
    spoiled = "SP" in text(header, "SequenceVariant").upper().split("\\")
    # Angiograms by time of flight are spoiled too, by smaller angles and times.
    if spoiled and flip and flip[0] >= 50 and 80 <= repetition <= 600 and echo <= 8:
        return MRSequence.T1
    return None


def _has_contrast(header: Dataset, own: str, exam: str) -> bool:
    """Tell whether a contrast agent was given: by the series' words, then the tag.

    The words of a protocol count only where nothing else says it.
    """
    if _PLAIN.search(own):
        return False
    if _CONTRAST.search(own):
        return True
    agent = text(header, "ContrastBolusAgent").upper()
    if agent:
        return agent not in _NO_AGENT
    return bool(_CONTRAST.search(exam)) and not _PLAIN.search(exam)


_NO_AGENT = ("NO", "NONE", "N", "NO CONTRAST", "OHNE", "SIN", "SANS", "0", "WITHOUT")
