"""torchvision's operators on torch alone, against what is reckoned by hand and what must hold of any boxes.

Beside torchvision itself: tests/e2e/test_vision.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelyard.worker.runtimes.torchvision_operators import nms, roi_align

BOXES = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 6], [20, 20, 30, 30], [0, 0, 10, 5.0]])
SCORES = torch.tensor([0.8, 0.7, 0.9, 0.6])


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (0.9, [2, 0, 1, 3]),
        (0.6, [2, 0, 1]),  # the last one is 5/6 of the second, and half of the first
        (0.55, [2, 0, 3]),
        (0.5, [2, 0, 3]),  # just as much is allowed
        (0.49, [2, 0]),
    ],
)
def test_boxes_that_share_more_than_they_may_with_a_better_one_go(most: float, kept: list[int]) -> None:
    assert nms(BOXES, SCORES, most).tolist() == kept


def test_no_boxes_keep_none() -> None:
    kept = nms(torch.empty(0, 4), torch.empty(0), 0.5)
    assert (kept.shape, kept.dtype) == ((0,), torch.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(4))
def test_of_any_boxes_the_kept_are_apart_and_the_others_are_covered(seed: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 24, (64, 2), generator=draw)
    boxes = torch.cat([corners, corners + torch.randint(4, 16, (64, 2), generator=draw)], dim=1).to(dtype)
    scores = torch.randperm(64, generator=draw).to(dtype)
    kept = nms(boxes, scores, 0.4)
    low, high = torch.maximum(boxes[:, None, :2], boxes[:, :2]), torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared, areas = (high - low).clamp(min=0).double().prod(dim=2), (boxes[:, 2:] - boxes[:, :2]).double().prod(dim=1)
    overlap = shared / (areas[:, None] + areas - shared)
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    assert (overlap[kept][:, kept] - torch.eye(len(kept)) <= 0.4).all()
    dropped = [at for at in range(64) if at not in kept.tolist()]
    assert dropped
    assert all((overlap[kept, at][scores[kept] > scores[at]] > 0.4).any() for at in dropped)


def regions(*corners: tuple[float, float, float, float], image: int = 0) -> torch.Tensor:
    return torch.tensor([[image, *each] for each in corners], dtype=torch.float32)


RAMP = torch.arange(8.0).expand(1, 1, 6, 8)
"""6 × 8 pixels, each of which holds its column."""


def test_the_whole_of_an_image_in_its_own_size_is_the_image() -> None:
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32))
    whole = roi_align(image, regions((0, 0, 7, 5), image=1), 1.0, 5, 7, 1, True)
    assert torch.allclose(whole, image[1:], atol=1e-6)


def test_a_bin_is_the_mean_of_the_points_in_it() -> None:
    # From column 2 to 6 in two bins, 2 wide: pixels' centres are at a half, so that the bins' middles hold 2.5 and 4.5.
    for samples in (1, 2, 3, 0):
        (aligned,) = roi_align(RAMP, regions((2, 1, 6, 5)), 1.0, 2, 2, samples, True)
        assert torch.allclose(aligned[0], torch.tensor([[2.5, 4.5], [2.5, 4.5]]), atol=1e-6)
    # Where a pixel is at its number, 3 and 5. Of places twice as large: the same region.
    (plain,) = roi_align(RAMP, regions((4, 2, 12, 10)), 0.5, 2, 2, 2, False)
    assert torch.allclose(plain[0], torch.tensor([[3.0, 5.0], [3.0, 5.0]]), atol=1e-6)


def test_a_region_smaller_than_a_pixel_is_taken_for_one_where_nothing_is_aligned() -> None:
    (found,) = roi_align(RAMP, regions((3, 3, 3.25, 3.25)), 1.0, 1, 1, 1, False)
    assert found.item() == pytest.approx(3.5)
    (found,) = roi_align(RAMP, regions((3, 3, 3.25, 3.25)), 1.0, 1, 1, 1, True)
    assert found.item() == pytest.approx(2.625)


def test_beside_an_image_is_its_edge_and_far_from_it_nothing() -> None:
    # One point each, half a pixel before the first column and more than one behind the last.
    beside, beyond = roi_align(RAMP + 1, regions((-0.5, 2, 0.5, 3), (8.25, 2, 9.25, 3)), 1.0, 1, 1, 1, True).flatten()
    assert (beside.item(), beyond.item()) == (1.0, 0.0)


@pytest.mark.parametrize("aligned", [False, True])
def test_by_default_a_bin_has_as_many_points_as_it_is_wide(aligned: bool) -> None:
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 2, 9, 9)).astype(np.float32))
    region = regions((0.3, 0.7, 8.1, 8.5))  # 7.8 in 3 bins: 3 points in each
    assert torch.equal(
        roi_align(image, region, 1.0, 3, 3, -1, aligned), roi_align(image, region, 1.0, 3, 3, 3, aligned)
    )


def test_no_regions_make_nothing() -> None:
    assert roi_align(RAMP, torch.empty(0, 5), 1.0, 2, 3, 2, True).shape == (0, 1, 2, 3)
