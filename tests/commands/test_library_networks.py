"""Networks of torchvision and timm from the command line: run, table, export, and words that are wrong."""

import re
from pathlib import Path

import pytest

from benchmark.store import Store
from tests import images, plans
from tests.command_line import Bench


@pytest.fixture(autouse=True)
def needs_extras() -> None:
    for package in ("timm", "onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)


@pytest.mark.thorough
def test_they_train_in_both_kinds_of_methods_and_are_exported(tmp_path: Path, bench: Bench) -> None:
    images.tree(tmp_path / "photos", 20, 26, 3)
    settings = (
        "--dataset folder:photos --seeds 1 --epochs 1 --engine serial --device cpu --save-students"
        " --set data.image_size=32"
    )
    for methods, network in (("dml,pcl", "torchvision:mobilenet_v3_small"), ("dml", "timm:vit_tiny_patch16_224")):
        answer = bench(*f"run --methods {methods} --backbone {network} {settings}".split())
        assert answer.code == 0
        for method in methods.split(","):
            assert re.search(rf"^\| {method} +\| +\d+\.\d\d \(1\)", answer.out, re.MULTILINE)
    folders = {path.name.rpartition("-s0-")[0] for path in Path("results/runs").glob("*-*")}
    assert folders == {
        "dml-folder_photos-torchvision_mobilenet_v3_small",
        "pcl-folder_photos-torchvision_mobilenet_v3_small",
        "dml-folder_photos-timm_vit_tiny_patch16_224",
    }
    assert "read back" in bench("export", "pcl-folder_photos-torchvision", "--to", "student.onnx").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--methods dml --backbone timm:resnet19", "unknown network of timm 'resnet19', did you mean 'resnet18'?"),
        ("--methods dml --backbone tim:resnet18", "unknown source of backbones 'tim', did you mean 'timm'?"),
        ("--methods dml --backbone torchvision:googlenet", "torchvision:googlenet does not take images of 1x8x8"),
        ("--methods pcl --backbone timm:ghostnet_050", "timm:ghostnet_050 has no stages for branches on a shared stem"),
        ("--methods ahbf --backbone timm:resnet10t", "timm:resnet10t has no deeper form, which branches of"),
        ("--methods dml --backbone resnet18", "resnet18 needs images of side 32 or more (given: 8)"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(words: str, said: str, tmp_path: Path, bench: Bench) -> None:
    command = f"run {words} --dataset digits --engine serial --device cpu --results {tmp_path}/results"
    bench(*command.split()).assert_refused(said)
    assert not list(tmp_path.glob("results/runs/*/config.yaml"))


@pytest.mark.parametrize(
    ("backbone", "part"),
    [
        ("resnet8+wide_resnet20_8", "resnet8+wide_resnet20_8"),
        ("densenet40_12", "densenet40_12"),
        ("timm:resnet18+torchvision:vgg11", "timm_resnet18+torchvision_vgg11"),
        ("a/b:c d", "a_b_c_d"),
    ],
)
def test_a_runs_folder_has_a_valid_name(backbone: str, part: str, tmp_path: Path) -> None:
    config = plans.on_noise("dml").model_copy(update={"dataset": "digits", "backbone": backbone, "seed": 3})
    folder = Store(tmp_path).folder(config)
    assert folder.parent == tmp_path / "runs"
    assert folder.name == f"dml-digits-{part}-s3-{config.identity}"
