"""What the manifest says of torch, CUDA and driver."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from batch_job.accelerator import accelerator_used
from batch_job.contract import Accelerator

OF_DEBIAN = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.247.01  Mon Apr 21 19:44:25 UTC 2025"
OF_AWS = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder)\n"


def torch_with(cuda: str | None, device: str = "") -> SimpleNamespace:
    on = SimpleNamespace(is_available=lambda: bool(device), get_device_name=lambda: device)
    return SimpleNamespace(__version__="2.8.0+cu128", version=SimpleNamespace(cuda=cuda), cuda=on)


@pytest.mark.parametrize(("said", "driver"), [(OF_DEBIAN, "535.247.01"), (OF_AWS, "580.95.05"), ("?", "")])
def test_accelerator_is_named_with_its_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, driver: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch_with("12.8", "Tesla T4"))
    (tmp_path / "version").write_text(said)
    wanted = Accelerator(torch="2.8.0+cu128", cuda="12.8", driver=driver, device="Tesla T4")
    assert accelerator_used(tmp_path / "version") == wanted


def test_accelerator_without_a_gpu_has_torch_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch_with(None))
    wanted = Accelerator(torch="2.8.0+cu128", cuda="", driver="", device="")
    assert accelerator_used(tmp_path / "none") == wanted


def test_accelerator_of_an_engine_without_torch_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert accelerator_used() is None
