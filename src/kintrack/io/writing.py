"""How kintrack writes: beside the target first, under the final name only when everything is there.

An interrupted or failed run leaves the target as it was. The unfinished result lies in a hidden folder beside it,
which is removed even after an interruption (a process that is killed outright leaves the hidden folder, never half a
target).
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from kintrack.errors import KintrackError, OutputError, OutputExistsError


@contextmanager
def new_file(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A place to write a file to, which becomes `path` when the block ends well.

    Raises:
        OutputExistsError: `path` is there and may not be overwritten.
        OutputError: the system refuses (no room, no permission, a parent that is a file).
    """
    path = Path(path)
    if path.is_dir():
        raise OutputExistsError(f"{path} is a folder, but a file is to be written there; give a file name")
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists; choose another name, or allow overwriting (overwrite=True, --overwrite)"
        )
    with _beside(path) as draft:
        yield draft
        draft.replace(path)


@contextmanager
def new_folder(path: str | Path, overwrite: bool = False, own: tuple[str, ...] = ()) -> Iterator[Path]:
    """A folder to write into, which becomes `path` when the block ends well.

    An empty folder counts as not there. A folder is only overwritten when all that it holds matches a pattern of
    `own`: nobody's images are deleted because a result was to be written over them.

    Raises:
        OutputExistsError: `path` is there and may not be overwritten, or holds something else.
        OutputError: the system refuses.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OutputExistsError(f"{path} is a file, but a folder is to be written there; give another name")
    held = sorted(child.name for child in path.iterdir()) if path.is_dir() else []
    if held and not overwrite:
        raise OutputExistsError(
            f"{path} exists and is not empty; choose another, or allow overwriting (overwrite=True, --overwrite)"
        )
    foreign = [name for name in held if not any(fnmatch(name, pattern) for pattern in own)]
    if foreign:
        raise OutputExistsError(
            f"{path} holds {foreign[0]!r}, which is no part of a result and would be lost; choose another folder"
        )
    with _beside(path) as draft:
        draft.mkdir()
        yield draft
        old = draft.parent / "old"
        if path.exists():
            path.replace(old)
        try:
            draft.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """The target's own name in a hidden folder beside it (one file system, so that renaming is a single step)."""
    hidden = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield hidden / path.name
    except KintrackError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)


def _reason(error: OSError) -> str:
    """What the system said, and what helps."""
    helps = {
        errno.ENOSPC: "no space is left on the disk; free some, or write somewhere else",
        errno.EDQUOT: "the disk quota is used up; free some space, or write somewhere else",
        errno.EROFS: "the disk is read-only; write somewhere else",
        errno.EACCES: "permission was denied; write somewhere else, or change the folder's permissions",
        errno.EPERM: "permission was denied; write somewhere else, or change the folder's permissions",
        errno.ENOTDIR: "one of its parents is a file, not a folder; give a path in a folder",
        errno.EEXIST: "one of its parents is a file, not a folder; give a path in a folder",
    }
    return helps.get(error.errno or 0, str(error))
