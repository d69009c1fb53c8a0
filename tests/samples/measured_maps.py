"""What a bundle keeps of the tests of its maps, with figures made up for tests."""

from typing import Any


def figure(value: float, room: float = 0.02) -> dict[str, float]:
    """Make a figure with an interval."""
    return {"value": value, "low": value - room, "high": value + room}


def of_maps(key: str, first: float, second: float) -> dict[str, Any]:
    """Make a figure of the evidence map, and one of Grad-CAM."""
    return {"evidence": {key: figure(first)}, "gradcam": {key: figure(second)}}


def measured_maps(outlines: bool = True) -> dict[str, Any]:
    """Make all figures of both maps."""
    early = {"gain_over_center": of_maps("early", 0.2, 0.1)}
    inside = {"gain_over_center": of_maps("peak_inside", 0.5, 0.4)}
    return {
        "slices": 12,
        "patients": 7,
        "agreement": inside if outlines else {"slices": 0},
        "deletion": {"deletion": early, "insertion": early},
        "randomisation": {
            "cascading": [
                of_maps("spearman", 0.9, 0.9),
                of_maps("spearman", 0.06, 0.07),
            ],
            "other_patient": of_maps("spearman", 0.3, 0.31),
        },
        "repeatability": {"turn": of_maps("correlation", 0.8, 0.81)},
    }
