"""Models on the Hugging Face hub: what is a reference and what is a file, and the files behind one."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml

from kintrack import api, hub, io, loading
from kintrack.checkpoints import convert_checkpoint
from kintrack.core.tracks import Tracks
from kintrack.errors import CheckpointError, MissingExtraError
from kintrack.models.checkpoint import read_card
from worlds import crossing, painted

CHECKPOINT = Path(__file__).parent / "golden" / "dreem" / "descriptor.ckpt"
COMMIT = "a" * 40
CONFIG = {"dataset": {"train_dataset": {"crop_size": [24, 24], "padding": 0, "anchors": "centroid"}}}


class RepositoryNotFoundError(Exception):
    pass


class RevisionNotFoundError(Exception):
    pass


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A hub of one repository, in the layout of huggingface_hub's cache, that can be reached or not."""
    snapshot = tmp_path / "cache" / "models--lab--flies" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    shutil.copy(CHECKPOINT, snapshot / "best.ckpt")
    (snapshot / "train-config.yaml").write_text(yaml.safe_dump(CONFIG))
    state = SimpleNamespace(online=True, snapshot=snapshot, asked=[], repos={"lab/flies"}, cached=True)

    def check(repo: str, revision: str | None) -> None:
        state.asked.append((repo, revision))
        if not state.online:
            raise ConnectionError("Name or service not known")
        if repo not in state.repos:
            raise RepositoryNotFoundError(f"401: {repo}")
        if revision not in (None, "main", "v2", COMMIT):
            raise RevisionNotFoundError(str(revision))

    def model_info(repo: str, *, revision: str | None, timeout: float) -> SimpleNamespace:
        check(repo, revision)
        names = ["README.md", *(path.name for path in sorted(snapshot.iterdir()))]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    def hf_hub_download(repo: str, name: str, *, revision: str | None, local_files_only: bool) -> str:
        assert local_files_only != state.online  # else it would try again and again
        return str(snapshot / name)

    def snapshot_download(repo: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool) -> str:
        assert local_files_only and "*.ckpt" in allow_patterns
        if not state.cached:
            raise FileNotFoundError("no snapshot")
        return str(snapshot)

    module = ModuleType("huggingface_hub")
    for function in (model_info, hf_hub_download, snapshot_download):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    loading._fetched.cache_clear()
    yield state
    loading._fetched.cache_clear()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    truth = crossing()
    images = np.repeat(painted(truth.detections)[..., None], 3, axis=3)
    io.write_video(tmp_path / "clip.mp4", list((images > 0).astype(np.uint8) * 200), 10.0)
    io.save(Tracks.untracked(truth.detections), tmp_path / "clip.csv")
    return tmp_path / "clip.csv"


@pytest.mark.parametrize(
    ("name", "repo", "revision", "file"),
    [
        ("animals", "talmolab/dreem-animals-pretrained", None, "animals-pretrained.ckpt"),
        ("microscopy@abc", "talmolab/dreem-microscopy-pretrained", "abc", "pretrained-microscopy.ckpt"),
        ("lab/flies", "lab/flies", None, None),
        ("lab/flies@v1.2", "lab/flies", "v1.2", None),
        ("https://huggingface.co/lab/flies", "lab/flies", None, None),
        ("https://huggingface.co/lab/flies/", "lab/flies", None, None),
        ("https://huggingface.co/lab/flies@v2", "lab/flies", "v2", None),
        ("https://huggingface.co/lab/flies/tree/v2", "lab/flies", "v2", None),
        ("https://hf.co/lab/flies/blob/main/a/b.ckpt", "lab/flies", "main", "a/b.ckpt"),
        ("https://huggingface.co/lab/flies/resolve/main/b.ckpt?download=true", "lab/flies", "main", "b.ckpt"),
    ],
)
def test_references_mean_a_repository_a_revision_and_a_file(name, repo, revision, file):
    found = hub.parse(name)
    assert (found.repo, found.revision, found.file) == (repo, revision, file)


@pytest.mark.parametrize("name", ["models/best.ckpt", "./a", "../a/b", "/a/b", "a", "a/b/c", "run/m.ckpt", "~/b"])
def test_whatever_may_be_a_path_is_no_reference(name):
    """DREEM looks for `models/best.ckpt` on the hub, and would load what somebody has put there (C4, S2)."""
    assert hub.parse(name) is None


def test_a_mistyped_name_in_a_folder_of_yours_is_not_looked_for_on_the_hub(tmp_path, monkeypatch, fake):
    monkeypatch.chdir(tmp_path)
    Path("lab").mkdir()
    with pytest.raises(CheckpointError, match="there is no model 'lab/flies', by name or as a file"):
        loading.find_model("lab/flies")
    assert not fake.asked


@pytest.mark.parametrize("name", ["animals", "lab/flies"])
def test_a_file_of_that_name_goes_before_the_hub(name, tmp_path, monkeypatch, fake):
    monkeypatch.chdir(tmp_path)
    Path("lab").mkdir()
    shutil.copy(CHECKPOINT, name)
    assert loading.find_model(name) == Path(name)
    assert "source" not in loading.load_model(name).card and not fake.asked


def test_weights_in_the_package_go_before_the_hub(tmp_path, monkeypatch, fake):
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    (tmp_path / "animals.safetensors").touch()
    assert loading.find_model("animals") == tmp_path / "animals.safetensors" and not fake.asked


@pytest.mark.parametrize("name", ["http://huggingface.co/lab/flies", "https://example.org/m.ckpt", "ftp://a/b"])
def test_other_addresses_are_refused(name):
    with pytest.raises(CheckpointError, match="no address of a model that .* download the file yourself"):
        hub.parse(name)


def test_a_model_of_the_hub_says_where_it_is_from(fake):
    model = loading.load_model("lab/flies@v2", "cpu")
    sha256 = hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()
    assert model.card["source"] == {"repo": "lab/flies", "revision": COMMIT, "sha256": sha256}
    assert model.card["crops"] == {"crop_size": 24, "padding": 0, "anchors": ["centroid"]}
    assert fake.asked[0] == ("lab/flies", "v2")


def test_a_result_says_which_revision_made_it_and_can_be_made_again(clip, tmp_path, fake):
    tracks = api.track(clip, tmp_path / "out.csv", model="lab/flies")  # its config says how large the crops were
    said = yaml.safe_load((tmp_path / "out.csv.kintrack.yaml").read_text())
    assert said["made"]["model_repo"] == "lab/flies" and said["made"]["model_revision"] == COMMIT
    assert len(said["made"]["model_sha256"]) == 64
    assert said["model"] == f"https://huggingface.co/lab/flies/blob/{COMMIT}/best.ckpt"
    again = api.track(clip, config=said)
    assert np.array_equal(again.track, tracks.track)


def test_what_was_downloaded_before_is_found_without_a_network(fake):
    fake.online = False
    assert loading.load_model("lab/flies").card["source"]["revision"] == COMMIT


def test_without_a_network_it_says_how_to_give_a_file(fake):
    fake.online = fake.cached = False
    words = r"cannot be reached \(ConnectionError: Name .* go online once, or download .* give the path of the local"
    with pytest.raises(CheckpointError, match=words):
        loading.load_model("lab/flies")
    with pytest.raises(
        CheckpointError, match=r"download animals-pretrained\.ckpt from https://huggingface\.co/talmolab"
    ):
        loading.load_model("animals")


def test_without_the_package_it_says_what_to_install_or_to_give(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    loading._fetched.cache_clear()
    with pytest.raises(MissingExtraError, match=r"or give a local file\) .*pip install 'kintrack\[hub\]'"):
        loading.load_model("animals")


def test_what_is_not_there_is_named(fake):
    with pytest.raises(CheckpointError, match="huggingface.co/lab/mice is not there, or is not public; check the name"):
        loading.load_model("lab/mice")
    with pytest.raises(CheckpointError, match="has no revision 'v9'; wanted a branch, a tag or a commit"):
        loading.load_model("lab/flies@v9")
    shutil.copy(CHECKPOINT, fake.snapshot / "worst.ckpt")
    with pytest.raises(CheckpointError, match=r"holds 2 weights \(best\.ckpt, worst\.ckpt\); .* the address of a file"):
        loading.load_model("lab/flies")
    assert loading.find_model("https://huggingface.co/lab/flies/blob/main/worst.ckpt").name == "worst.ckpt"
    for path in fake.snapshot.glob("*.ckpt"):
        path.unlink()
    loading._fetched.cache_clear()
    with pytest.raises(CheckpointError, match="lab/flies holds no weights"):
        loading.load_model("lab/flies")


def test_a_checkpoint_with_code_is_refused_wherever_it_is_from(fake, tmp_path):
    import torch

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "boom",))

    torch.save({"state_dict": Bomb()}, fake.snapshot / "best.ckpt")
    with pytest.raises(CheckpointError, match="refused"):
        loading.load_model("lab/flies")
    assert not (tmp_path / "boom").exists()


def test_a_checkpoint_of_the_hub_can_be_converted(fake, tmp_path):
    shutil.copy(CHECKPOINT.with_name("omegaconf.ckpt"), fake.snapshot / "best.ckpt")
    with pytest.raises(CheckpointError, match=r"`kintrack convert-checkpoint \S*best\.ckpt -o best\.safetensors`"):
        loading.load_model("lab/flies")
    done = convert_checkpoint("lab/flies", tmp_path / "m.safetensors", padding=5)
    card = read_card(done.path)
    assert card["source"]["revision"] == COMMIT
    assert card["crops"] == {"crop_size": 24, "padding": 5, "anchors": ["centroid"]}
    assert json.dumps(card)


def test_huggingface_hub_itself_finds_what_is_in_its_cache(fake, tmp_path, monkeypatch):
    """The real package, without a network."""
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    refs = tmp_path / "cache" / "models--lab--flies" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    try:
        assert loading.find_model("lab/flies") == fake.snapshot / "best.ckpt"
    finally:
        for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
            del sys.modules[name]
