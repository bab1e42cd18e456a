"""What ``make offline`` packs, without a network; ``make offline-check`` tries it on a bare Python."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.offline import (
    ROOT,
    SCRIPT,
    WITHOUT,
    RefusedError,
    Target,
    check_names,
    needed,
    own_requirements,
    replace,
)

LINUX = Target.of("cp312-manylinux_2_28_x86_64")


class TestTarget:
    def test_older_systems_wheels_run_too(self) -> None:
        assert LINUX.minor == 12
        assert LINUX.platforms[0] == "manylinux_2_28_x86_64"
        assert LINUX.platforms[-2:] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]
        assert Target.of("cp313-macosx_14_0_arm64").platforms == ["macosx_14_0_arm64"]

    @pytest.mark.parametrize("words", ["", "312", "cp27", "py312", "cp312-", "cp312 linux"])
    def test_other_words_are_refused(self, words: str) -> None:
        with pytest.raises(RefusedError, match="such as cp312"):
            Target.of(words)


class TestNeeded:
    def test_everything_that_is_not_left_out(self) -> None:
        away = WITHOUT.split(",")
        found = needed(away, LINUX.environment)
        direct = {line.partition(">")[0].partition("[")[0].lower() for line in own_requirements()}
        assert direct - set(away) <= set(found)
        assert {"pydantic-core", "annotated-types", "shellingham"} <= set(found)
        assert not set(away) & set(found)

    def test_what_those_alone_need_stays_too(self) -> None:
        everything = set(needed((), LINUX.environment))
        without_ray = set(needed(["ray"], LINUX.environment))
        # of Ray itself, and of the part that is tuned with
        assert {"ray", "msgpack", "fsspec"} <= everything
        assert {"ray", "msgpack"} & without_ray == set()
        assert "numpy" in without_ray
        assert needed(["RAY", "Scikit_Learn"], LINUX.environment) == needed(["ray", "scikit-learn"], LINUX.environment)

    def test_a_misspelt_name_is_refused(self) -> None:
        with pytest.raises(RefusedError, match="nothing here needs torhc "):
            check_names(["torhc", "ray"], LINUX.environment)


def test_a_folder_of_other_things_stays(tmp_path: Path) -> None:
    (made := tmp_path / "made").mkdir()
    (made / "new.whl").touch()
    (out := tmp_path / "out").mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(RefusedError, match=r"holds other things, such as thesis\.tex"):
        replace(made, out)
    (out / "thesis.tex").rename(out / "old.whl")
    replace(made, out)
    assert [path.name for path in out.iterdir()] == ["new.whl"]


def test_the_script_unpacks_once_and_runs(tmp_path: Path) -> None:
    (folder := tmp_path / "my folder").mkdir()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)

    def call(tag: str, *words: str) -> subprocess.CompletedProcess[str]:
        (folder / "bench").write_text(SCRIPT.format(tag=tag))
        command = ["sh", str(folder / "bench"), *words]
        environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    refused = call("cpython-27", "--version")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        refused.stderr == "bench: these wheels are for cpython-27: PYTHON=/path/to/python names such an interpreter\n"
    )
    assert not (folder / "site").exists()
    tag = str(sys.implementation.cache_tag)
    for _ in range(2):
        done = call(tag, "--version")
        assert (done.returncode, done.stderr) == (0, ""), done
        assert sorted(path.suffix for path in folder.iterdir()) == ["", "", ".whl"]
    assert (folder / "site/benchmark/cli.py").is_file()
