"""What the documentation says can be done, is done: its commands, its Python, its links, its tables.

Blocks of ``sh`` and ``python`` are run, page by page and from top to bottom, in a folder that holds what a reader is
assumed to have (see `folder`). Of the shell, only the lines that begin with ``kintrack`` are run.
"""

import glob
import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kintrack import cli, io, loading
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from worlds import crossing, gap, painted

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")

# What makes a command of the documentation small enough for a test.
SMALL = {
    "train": "--set max_epochs=1 --set data.clips=4 --set data.frames=4 --set data.max_objects=4 --set batch_size=2",
}


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in the given languages, from top to bottom."""
    return [text for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, comments taken away and continued lines joined."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [stripped for line in lines if (stripped := re.sub(r"(^|\s)#.*", "", line).strip())]


def is_slow(page: Path) -> bool:
    """Whether a page trains something."""
    text = "\n".join([*commands(page), *blocks(page, "python")])
    return "kintrack train" in text or "Trainer(" in text or "api.train" in text


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model named `general` that nobody has trained: what commands do does not depend on how well."""
    import torch

    from kintrack.models import GlobalTrackingTransformer
    from kintrack.models.checkpoint import save_model

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = GlobalTrackingTransformer({"dim": 16, "heads": 2, "decoder_layers": 1})
    save_model(model, folder / "general.safetensors", card={"about": "not trained"})
    (folder / "general.yaml").write_text("model: {dim: 16, heads: 2, decoder_layers: 1}\n")
    shutil.copy(loading.WEIGHTS / "finetune.yaml", folder)
    return folder


def _posed(tracks: Tracks) -> Tracks:
    """The same individuals as poses of two keypoints."""
    box = tracks.detections.box
    keypoints = box.reshape(-1, 2, 2)
    detections = Detections(tracks.detections.frame, box, keypoints=keypoints, video=tracks.detections.video)
    return Tracks(detections, tracks.track)


@pytest.fixture
def folder(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader is: files of each format, and the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "WEIGHTS", weights)
    true, found = crossing(), gap()
    movie = [(image[..., None] > 0).astype(np.uint8) * 200 for image in painted(true.detections)]
    io.save(_posed(true), "truth.slp")
    io.save(_posed(true), "checked.slp")
    io.save(Tracks.untracked(_posed(true).detections), "poses.slp")
    for name in ("poses", "checked", "corrected/a", "corrected/b"):
        io.write_video(f"{name}.mp4", movie, 10.0)
    for name, tracks in (("a", true), ("b", found)):
        io.save(_posed(tracks), f"corrected/{name}.slp")
        io.save(tracks, f"gt/{name}.txt")
        io.save(tracks, f"results/{name}.txt")
        io.save(Tracks.untracked(tracks.detections), f"clips/{name}.csv")
    io.save(Tracks.untracked(found.detections), "det.txt")
    Path("points.csv").write_text("frame,x,y,dose\n0,5,5,high\n0,25,5,low\n1,6,5,high\n1,24,5,low\n")
    Path("settings.yaml").write_text("tracker: {max_gap: 30}\n")
    _write_labels(Path("sequence"), found)
    shutil.copy(ROOT / "tests" / "golden" / "dreem" / "descriptor.ckpt", "dreem.ckpt")
    for command, name in {"track": "poses", "eval": "checked"}.items():
        files = f"slp_files: [{name}.slp], video_files: [{name}.mp4]"
        Path(f"dreem_{command}.yaml").write_text(
            f"ckpt_path: dreem.ckpt\noutdir: dreem_{command}\ndataset: {{test_dataset: {{{files}, crop_size: 24}}}}\n"
        )
    return tmp_path


def _write_labels(path: Path, tracks: Tracks) -> None:
    import tifffile

    path.mkdir()
    for frame, image in enumerate(painted(tracks.detections)):
        tifffile.imwrite(path / f"mask{frame:03d}.tif", image)


def _run(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A `kintrack` command as a shell would run it."""
    given = [name for word in shlex.split(line)[1:] for name in (sorted(glob.glob(word)) if "*" in word else [word])]
    if given and given[0] in SMALL:
        # Before the options that the page gives: those of the page go first.
        given += shlex.split(SMALL[given[0]])
    monkeypatch.setattr(sys, "argv", ["kintrack", *given])
    try:
        cli.main()
    except SystemExit as left:
        assert not left.code, f"{line}\n{capsys.readouterr().err}"


@pytest.mark.filterwarnings("ignore")  # advice of Lightning's
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, id=n, marks=[pytest.mark.slow] * is_slow(p)) for p, n in zip(PAGES, NAMES, strict=True)],
)
def test_the_commands_and_the_python_of_a_page_run(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in commands(page):
        if line.startswith("kintrack "):
            _run(line, monkeypatch, capsys)
    names: dict[str, object] = {"__name__": page.stem}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page.name}, python block {number}", "exec"), names)


def test_the_readme_has_commands_and_python_to_run() -> None:
    readme = ROOT / "README.md"
    assert {line.split()[1] for line in commands(readme) if line.startswith("kintrack ")} >= {
        "track", "eval", "render", "train",
    }  # fmt: skip
    assert len(blocks(readme, "python")) == 2


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_and_scripts_that_a_page_names_are_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for script in re.findall(r"python ((?:scripts|benchmarks)/[\w/]+\.py)", text):
        assert (ROOT / script).is_file(), script


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name in navigation


def test_the_picture_of_the_readme_is_small() -> None:
    assert (ROOT / "docs" / "images" / "demo.png").stat().st_size <= 200_000


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tables_made_from_the_code_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert _script("refresh_tables").refreshed(text) == text, "run: python scripts/refresh_tables.py"
