"""Which items of a reporting guideline a model card answers, and where."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tumorlens.report.figure_words import table

NOT_COVERED = "not covered"


@dataclass(frozen=True)
class Item:
    """One item of a guideline.

    Parameters
    ----------
    number
        As the guideline counts.
    topic
        What it asks, in short and in our own words.
    where
        Where it is answered, in Markdown seen from the card, or what is missing.
    needs
        Figures of which the bundle must hold at least one; without any of them
        the item is not covered.
    """

    number: str
    topic: str
    where: str
    needs: tuple[str, ...] = ()


def items_table(items: Sequence[Item], measured: Collection[str]) -> list[str]:
    """Write a guideline's items as a table in Markdown.

    Parameters
    ----------
    items
        In the guideline's order.
    measured
        Names of the figures that the bundle holds.
    """
    return table(
        ("Item", "Topic", "Where"),
        (
            (
                item.number,
                item.topic,
                item.where
                if not item.needs or set(item.needs) & set(measured)
                else f"{NOT_COVERED}: not measured for this bundle",
            )
            for item in items
        ),
    )
