"""Points and boxes that say which things of an image are meant, in pixels of the image as sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Array

MOST_OBJECTS = 256
MOST_POINTS = 256
"""Things in one request, and points on each."""
PADDING = -10
"""What the library's models take for no point at all, as label and as coordinate."""


@dataclass(frozen=True, slots=True)
class PointsAndBoxes:
    """What is meant, for each thing: points, (things, most, 2), with labels, (things, most), and boxes, (things, 4)."""

    points: Array | None
    labels: Array | None
    boxes: Array | None

    def check_inside(self, width: int, height: int) -> None:
        """Raises InvalidRequest for a point outside of the image."""
        if self.points is None or self.labels is None:
            return
        for x, y in self.points[self.labels != PADDING].tolist():
            if not (0 <= x <= width and 0 <= y <= height):
                accepted = f"points inside of the image, which is {width} wide and {height} high"
                raise InvalidRequest(field="params.input_points", got=[x, y], accepted=accepted)


def read_points_and_boxes(
    points: list[Any] | None, labels: list[Any] | None, boxes: list[Any] | None
) -> PointsAndBoxes | None:
    """The prompts of a request, or None when it points at nothing. Raises InvalidRequest naming the param.

    Points are [[x, y], ...] for one thing or a list of such lists for several; labels go along with them. Boxes are
    [xmin, ymin, xmax, ymax] or a list of such. The library's further level, for several images, may be there.
    """
    if points is None and boxes is None:
        if labels is not None:
            raise InvalidRequest(field="params.input_labels", got=labels, accepted="none without input_points")
        return None
    found = None if points is None else read_points(points)
    marks = None if found is None else read_labels(labels, [len(own) for own in found])
    frames = None if boxes is None else read_boxes(boxes)
    if found is not None and frames is not None and len(found) != len(frames):
        accepted = f"one box for each of the {len(found)} things that input_points name"
        raise InvalidRequest(field="params.input_boxes", got=boxes, accepted=accepted)
    return PointsAndBoxes(
        points=None if found is None else pad([np.asarray(own, dtype=np.float32) for own in found]),
        labels=None if marks is None else pad([np.asarray(own, dtype=np.int64) for own in marks]),
        boxes=None if frames is None else np.asarray(frames, dtype=np.float32),
    )


def read_points(given: list[Any]) -> list[list[list[float]]]:
    """Each thing's points. Raises InvalidRequest."""
    things = nest(given, 3)
    accepted = f"1 to {MOST_POINTS} points as [[x, y], ...] for one thing, or a list of 1 to {MOST_OBJECTS} such lists"
    fits = are_lists(things, MOST_OBJECTS) and all(
        are_lists(points, MOST_POINTS) and all(are_numbers(point, 2) for point in points) for points in things
    )
    if not fits:
        raise InvalidRequest(field="params.input_points", got=given, accepted=accepted)
    return things


def read_labels(given: list[Any] | None, counts: list[int]) -> list[list[int]]:
    """Each point's label; 1 when none are given. `counts`: points of each thing. Raises InvalidRequest."""
    if given is None:
        return [[1] * count for count in counts]
    things = nest(given, 2)
    fits = are_lists(things, MOST_OBJECTS) and all(all(label in (0, 1) for label in own) for own in things)
    if not fits or [len(own) for own in things] != counts:
        accepted = "one label for each point, nested like input_points: 1 on the thing, 0 beside it"
        raise InvalidRequest(field="params.input_labels", got=given, accepted=accepted)
    return things


def read_boxes(given: list[Any]) -> list[list[float]]:
    """Each thing's box. Raises InvalidRequest."""
    boxes = nest(given, 2)
    fits = 0 < len(boxes) <= MOST_OBJECTS and all(
        are_numbers(box, 4) and box[0] < box[2] and box[1] < box[3] for box in boxes
    )
    if not fits:
        accepted = f"[xmin, ymin, xmax, ymax], or a list of up to {MOST_OBJECTS} such boxes"
        raise InvalidRequest(field="params.input_boxes", got=given, accepted=accepted)
    return boxes


def nest(given: list[Any], depth: int) -> list[Any]:
    """`given` with levels put around it or, where they hold one thing only, taken off, until it is `depth` deep."""
    while (found := depth_of(given)) < depth:
        given = [given]
    return given[0] if found == depth + 1 and len(given) == 1 else given


def depth_of(given: Any) -> int:
    """How many lists deep the first item is."""
    depth = 0
    while isinstance(given, list):
        depth += 1
        given = given[0] if given else None
    return depth


def are_lists(items: Any, most: int) -> bool:
    """Whether these are 1 to `most` lists."""
    return isinstance(items, list) and 0 < len(items) <= most and all(isinstance(item, list) and item for item in items)


def are_numbers(items: Any, count: int) -> bool:
    """Whether these are `count` finite numbers."""
    return (
        isinstance(items, list)
        and len(items) == count
        and all(isinstance(item, int | float) and not isinstance(item, bool) and abs(item) < 1e6 for item in items)
    )


def pad(rows: Sequence[Array]) -> Array:
    """Rows of different length as one array, padded with what the models take for nothing."""
    most = max(len(row) for row in rows)
    return np.stack(
        [np.pad(row, [(0, most - len(row)), *[(0, 0)] * (row.ndim - 1)], constant_values=PADDING) for row in rows]
    )
