"""`python -m batch_job check`: what it says, and how it ends."""

import pytest

from batch_job import check
from batch_job.engines import Segmented, Work
from batch_job.engines.threshold import Threshold


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(check, "quieten_python", lambda: None)
    return check.main(arguments)


def test_engine_that_works_says_what_it_is_and_what_it_finds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, "threshold", "tissue") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "threshold 1.0.0"
    assert second.startswith("finds bone, adipose_tissue, soft_tissue and 2 more in the reference case, in ")


def test_engine_that_finds_nothing_in_the_reference_case_is_a_defect_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_nothing(engine: Threshold, work: Work) -> Segmented:
        return Segmented(work.image.values.astype("uint8") * 0, {1: "bone"})

    monkeypatch.setattr(Threshold, "segment", find_nothing)
    assert asked(monkeypatch, "threshold", "tissue") == 70
    said = capsys.readouterr()
    assert said.out == "threshold 1.0.0\n"
    assert "threshold does not find bone" in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["threshold"], 2, "usage: python -m batch_job check ENGINE TASK"),
        (["threshold", "bones"], 2, 'threshold has no task "bones"; it has: tissue'),
        (["magic", "tissue"], 2, 'there is no engine "magic"'),
        (["nnunet", "liver"], 78, "engine.model is empty; name the folder"),
        (["container", "model"], 78, "engine.command is empty, and so is image; name one of them"),
    ],
)
def test_wish_that_cannot_be_checked_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    assert asked(monkeypatch, *arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(sentence)
