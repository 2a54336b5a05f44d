"""An engine's options: equal wishes are equal, and what a task cannot do is refused by its name."""

from typing import Any

import pytest

from batch_job.contract import ContractError, canonical_options, engine_facts, task_facts

DEFAULTS = {
    "body_seg": False,
    "fast": False,
    "fastest": False,
    "robust_crop": False,
    "roi_subset": [],
    "statistics": True,
}


def test_options_left_out_are_the_defaults_in_order() -> None:
    assert list(canonical_options("totalsegmentator", "total", {}).items()) == list(DEFAULTS.items())
    assert canonical_options("threshold", "tissue", {}) == {"fast": False}


def test_structures_in_any_order_are_the_same_wish() -> None:
    options = canonical_options("totalsegmentator", "total", {"roi_subset": ["spleen", "liver", "spleen"]})
    assert options == {**DEFAULTS, "roi_subset": ["liver", "spleen"]}
    assert engine_facts("totalsegmentator").option_defaults["roi_subset"] == []


@pytest.mark.parametrize(
    ("task", "options", "sentence"),
    [
        ("total", {"speed": True}, 'no option "speed"; it has: body_seg, fast'),
        ("total", {"fast": 1}, '"fast" of totalsegmentator must be of type bool'),
        ("total", {"roi_subset": "liver"}, '"roi_subset" of totalsegmentator must be a list of names'),
        ("total", {"roi_subset": [1]}, "must be a list of names"),
        ("total", {"roi_subset": ["liver", "splen"]}, 'no structure "splen"; is spleen meant'),
        ("total", {"roi_subset": ["x\ny"]}, r'no structure "x\?y"'),
        ("total_mr", {"roi_subset": ["rib_left_1"]}, 'total_mr has no structure "rib_left_1"'),
        ("total", {"fast": True, "fastest": True}, "choose one of them"),
        ("body", {"fastest": True}, "the task body has no fastest model; those that do: total"),
        ("lung_vessels", {"fast": True}, "the task lung_vessels has no fast model"),
        (
            "lung_vessels",
            {"roi_subset": ["liver"]},
            "knows no roi_subset; those that do: total, total_v3, total_mr",
        ),
        ("total_mr", {"body_seg": True}, "body_seg works on CT, the task total_mr on MR"),
        ("total", {"statistics": False}, "statistics are part of every result"),
        ("lungs", {}, 'no task "lungs"'),
        ("test", {}, 'no task "test"'),
        ("total_highres_test", {}, 'no task "total_highres_test"'),
    ],
)
def test_option_that_cannot_be_is_refused_with_the_way_out(
    task: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ContractError, match=sentence) as raised:
        canonical_options("totalsegmentator", task, options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("task", ["total", "total_v3", "total_mr", "body", "body_mr"])
def test_fast_is_taken_where_there_is_such_a_model(task: str) -> None:
    assert canonical_options("totalsegmentator", task, {"fast": True})["fast"]


@pytest.mark.parametrize(
    ("task", "modality", "is_licensed"),
    [
        ("total", "CT", False),
        ("total_mr", "MR", False),
        ("brain_aneurysm", "MR", False),
        ("heartchambers_highres", "CT", True),
        ("face_mr", "MR", True),
    ],
)
def test_task_facts_say_modality_and_licence(task: str, modality: str, is_licensed: bool) -> None:
    facts = task_facts("totalsegmentator", task)
    assert (facts.modality, facts.is_licensed) == (modality, is_licensed)
