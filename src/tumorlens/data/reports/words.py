"""The words of radiology reports by which they are labelled, in English and German.

Words of both languages are looked for in every report, so that nobody has to say in
which it is written. The way of looking follows NegEx (Chapman et al. 2001) and ConText
(Harkema et al. 2009): a trigger holds from where it stands to the end of its sentence,
or to a word that ends it.

Tested in `tests/data/reports/test_labeller.py`.
"""

from __future__ import annotations

import re

from tumorlens.taxonomy import Finding, Lesion, TumorClass


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
