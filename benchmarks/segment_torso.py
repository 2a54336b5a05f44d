"""Our batch job beside the plain `TotalSegmentator` command: what the job adds around the same networks.

::

    make .venv-engine/.installed
    .venv-engine/bin/python benchmarks/segment_torso.py                 # five tiny networks on a real CT
    .venv-engine/bin/python benchmarks/segment_torso.py --fast --image other.nii.gz --repeats 5
    .venv-engine/bin/python benchmarks/segment_torso.py --full-size     # 512 x 512 x 280; wants a GPU

The tiny networks are those of the engine's tests: they cost nothing, so that what remains is the work around
them, ours and TotalSegmentator's own. `--full-size` makes networks of the real size with random weights. Each
command is run in turn, `--repeats` times, on the same input; all label maps must be equal. The plain command
saves with six processes unless it is told otherwise, each of which loads torch: so it is measured with one,
too, which our job asks for. What our job saves beyond that are nnU-Net's own processes. Seconds are wall
clock; CPU seconds are of the whole family of processes.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TORSO = ROOT / "tests" / "data" / "ct-torso-3mm" / "ct.nii.gz"
FULL_SIZE = ((512, 512, 280), (0.75, 0.75, 1.5))
"""Voxels and mm of TotalSegmentator's own timing on an RTX 3090: 77 s, 7.6 GB of memory."""


@dataclass
class Timing:
    """The runs of one command."""

    name: str
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def line(self, base: "Timing | None" = None) -> str:
        """One row of the table: medians, and how much more than another command's."""
        wall, cpu = statistics.median(self.wall_s), statistics.median(self.cpu_s)
        more = ""
        if base is not None:
            pairs = ((wall, statistics.median(base.wall_s)), (cpu, statistics.median(base.cpu_s)))
            more = " | ".join(f"{100 * (ours / theirs - 1):+.1f} %" for ours, theirs in pairs)
        return f"| {self.name} | {wall:.1f} | {min(self.wall_s):.1f} | {cpu:.1f} | {more or ' | '} |"


def main() -> None:
    """Measure and print a table."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        image = _full_size_image(folder) if options.full_size else options.image
        weights = folder / "weights"
        _write_weights(weights, full_size=options.full_size)
        environment = _environment(folder, weights)
        flags = ["--fast"] if options.fast else []
        commands: dict[str, Callable[[Path], list[str]]] = {
            "TotalSegmentator": lambda out: _plain(image, out, flags),
            "TotalSegmentator --nr_thr_saving 1": lambda out: _plain(image, out, [*flags, "-ns", "1"]),
            "python -m batch_job": lambda out: _ours(image, out, fast=options.fast),
        }
        timings = {name: Timing(name) for name in commands}
        for number in range(options.repeats):
            digests = set()
            for name, command in commands.items():
                out = folder / f"{number} {name}".replace(" ", "-")
                out.mkdir()
                _run(command(out), environment, timings[name])
                digests.add(_labels_digest(out / "labels.nii.gz"))
            if len(digests) != 1:
                sys.exit("the label maps differ")
        _report(timings, image, out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=Path, default=TORSO)
    parser.add_argument(
        "--fast", action="store_true", help="the one network of 3 mm instead of five of 1.5 mm"
    )
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _environment(folder: Path, weights: Path) -> dict[str, str]:
    """The same for both: the same threads, no statistics for the maker."""
    home = folder / "home"
    home.mkdir()
    config = {"totalseg_id": "benchmark", "send_usage_stats": False, "prediction_counter": 0}
    (home / "config.json").write_text(json.dumps({**config, "statistics_disclaimer_shown": True}))
    cores = str(len(os.sched_getaffinity(0)))
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TOTALSEG_HOME_DIR": str(home),
        "TOTALSEG_WEIGHTS_PATH": str(weights),
        **dict.fromkeys(("nnUNet_def_n_proc", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), cores),
    }


def _plain(image: Path, out: Path, flags: list[str]) -> list[str]:
    command = Path(sys.executable).with_name("TotalSegmentator")
    return [str(command), "-i", str(image), "-o", str(out / "labels.nii.gz"), "--ml", "-q", *flags]


def _ours(image: Path, out: Path, *, fast: bool) -> list[str]:
    content = image.read_bytes()
    name = "input.nii.gz" if image.name.endswith(".gz") else "input.nii"
    (out / name).write_bytes(content)
    request = {
        "contract": 1,
        "job_key": "benchmark",
        "task": "total",
        "engine": "totalsegmentator",
        "options": {"fast": fast},
        "input": {"name": name, "sha256": hashlib.sha256(content).hexdigest()},
    }
    (out / "request.json").write_text(json.dumps(request))
    return [sys.executable, "-m", "batch_job", f"{out}/"]


def _run(command: list[str], environment: Mapping[str, str], timing: Timing) -> None:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    timing.wall_s.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    timing.cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    if done.returncode != 0:
        sys.exit(f"{timing.name} ended with {done.returncode}: {done.stderr[-2000:]}")


def _labels_digest(path: Path) -> str:
    image: Any = nib.load(path)
    labels = np.asanyarray(image.dataobj).astype(np.uint8)
    return hashlib.sha256(labels.tobytes()).hexdigest()


def _report(timings: Mapping[str, Timing], image: Path, ours: Path) -> None:
    source: Any = nib.load(image)
    shape = " x ".join(map(str, source.shape))
    base, *others = timings.values()
    sys.stdout.write(
        f"{shape} voxels, {len(os.sched_getaffinity(0))} cores, {len(base.wall_s)} runs each\n\n"
    )
    sys.stdout.write(
        "| command | wall s, median | least | CPU s | wall more | CPU more |\n|---|---|---|---|---|---|\n"
    )
    sys.stdout.write("\n".join([base.line(), *(other.line(base) for other in others)]) + "\n\n")
    manifest = json.loads((ours / "manifest.json").read_bytes())
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in manifest["seconds"].items())
    sys.stdout.write(f"our last run, seconds by stage: {stages}; peak {manifest['peak_rss_mb']:.0f} MB\n")


# -- what it works on -------------------------------------------------------------------------------------


def _write_weights(folder: Path, *, full_size: bool) -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "engine")]
    import bands

    bands.write_weights(folder)
    if full_size:
        for plans in folder.glob("Dataset29[1-7]*/*/plans.json"):
            _enlarge(plans)


def _enlarge(path: Path) -> None:
    """Give a tiny network the size of TotalSegmentator's own: six stages, patches of 128, random weights."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    stages = 6
    plans = json.loads(path.read_bytes())
    ((_, configuration),) = plans["configurations"].items()
    configuration["patch_size"] = [128, 128, 128]
    kwargs: dict[str, Any] = configuration["architecture"]["arch_kwargs"]
    kwargs |= {
        "n_stages": stages,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "norm_op": "torch.nn.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    }
    configuration["architecture"]["_kw_requires_import"] = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    path.write_text(json.dumps(plans))
    classes = len(json.loads((path.parent / "dataset.json").read_bytes())["labels"])
    torch.manual_seed(0)
    real = {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU}
    network = PlainConvUNet(input_channels=1, num_classes=classes, **{**kwargs, **real})
    for checkpoint in path.parent.glob("fold_*/checkpoint_final.pth"):
        content = torch.load(checkpoint, weights_only=False)
        torch.save({**content, "network_weights": network.state_dict()}, checkpoint)


def _full_size_image(folder: Path) -> Path:
    """The torso, repeated to the size of a whole CT of the trunk."""
    shape, spacing_mm = FULL_SIZE
    torso: Any = nib.load(TORSO)
    values = np.asanyarray(torso.dataobj)
    sizes = zip(shape, spacing_mm, values.shape, strict=True)
    index = np.ix_(*((np.arange(size) * mm / 3).astype(int) % count for size, mm, count in sizes))
    path = folder / "full-size.nii.gz"
    nib.save(nib.Nifti1Image(values[index], np.diag([*spacing_mm, 1.0])), path)
    return path


if __name__ == "__main__":
    main()
