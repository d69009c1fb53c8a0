"""What a look at public pictures showed that their sets do not say.

Each list was gone through by eye; it names pictures, it judges no patient.
"""

from __future__ import annotations

_BRISC_CT = """
    test_00601 test_00602 test_00604 test_00605 train_02545 train_02548 train_02559
    train_02560 train_02568 train_02570 train_02571 train_02592 train_02627
    train_02640 train_02645 train_02651 train_02652 train_02655 train_02660
    train_02662 train_02670 train_02673 train_02682 train_02690 train_02691
    train_02692 train_02694 train_02702 train_02711 train_02731 train_02733
    train_02740 train_02744 train_02753 train_02756 train_02758 train_02763
    train_02773 train_02776 train_02780 train_02787 train_02788 train_02800
    train_02802 train_02805 train_02807 train_02811 train_02813 train_02817
    train_02818
"""

_BRISC_ABNORMAL = """
    train_02635 train_02661 train_02736 train_02762 train_02779
"""

BRISC_FLAGS: dict[str, str] = {
    **dict.fromkeys(_BRISC_CT.split(), "ct"),
    **dict.fromkeys(_BRISC_ABNORMAL.split(), "abnormal"),
}
"""Flag by part and number, as in the file names of BRISC 2025's tumour-free
pictures: computed tomography, or a mass in plain sight."""


def brisc_flag(name: str) -> str:
    """Look up the flag of a picture by its file name.

    Parameters
    ----------
    name
        For example ``brisc2025_train_02813_no_ax_t1.jpg``.

    Returns
    -------
    str
        ``ct``, ``abnormal``, or empty.
    """
    return BRISC_FLAGS.get("_".join(name.split("_")[1:3]), "")
