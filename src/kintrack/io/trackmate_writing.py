"""Writes tracks as a TrackMate file: spots, edges and calibration (in pixels), and what its reader asks for besides."""

import logging
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Detections, Ints
from kintrack.core.tracks import REVIEW_FRAMES, Tracks
from kintrack.core.video import LabelVideo
from kintrack.io.trackmate import POINT

_VERSION = "7.11.1"  # whose layout this is
_SPOT_FEATURES = {
    "QUALITY": ("Quality", "QUALITY", False), "POSITION_X": ("X", "POSITION", False),
    "POSITION_Y": ("Y", "POSITION", False), "POSITION_Z": ("Z", "POSITION", False), "POSITION_T": ("T", "TIME", False),
    "FRAME": ("Frame", "NONE", True), "RADIUS": ("Radius", "LENGTH", False), "VISIBILITY": ("Visibility", "NONE", True),
    POINT: ("Is a point", "NONE", True),
}  # fmt: skip
_EDGE_FEATURES = {
    "SPOT_SOURCE_ID": ("Source spot ID", "NONE", True),
    "SPOT_TARGET_ID": ("Target spot ID", "NONE", True),
}
_TRACK_FEATURES = {"TRACK_INDEX": ("Track index", "NONE", True), "TRACK_ID": ("Track ID", "NONE", True)}
_log = logging.getLogger(__name__)


def write(
    tracks: Tracks,
    path: Path,
    *,
    source: Path | None = None,
    labels: LabelVideo | None = None,
    review: int = REVIEW_FRAMES,
) -> None:
    """Spots with outlines (of boxes that are no squares) and the graph of their tracks. A point has a radius of 1.

    What TrackMate has no place for is said in a warning: rows without a place are left out, and a track of a single
    row, which has no edge, is a spot without a track there.
    """
    found = tracks.detections
    placed = np.flatnonzero(~np.isnan(found.box).any(axis=1))
    links = tracks.links()
    alone = np.setdiff1d(np.flatnonzero(tracks.track >= 0), links)
    for n, what in (
        (len(found) - len(placed), "rows without a place, which are left out"),
        (len(alone), "tracks of a single row, which become spots without a track"),
    ):
        if n:
            _log.warning("%s: TrackMate cannot hold %d %s", path, n, what)
    links = links[np.isin(links, placed).all(axis=1)] if len(links) else links
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in _lines(tracks, placed, links))


def _lines(tracks: Tracks, placed: Ints, links: Ints) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<TrackMate version="{_VERSION}">'
    yield '  <Model spatialunits="pixel" timeunits="frame">'
    yield "    <FeatureDeclarations>"
    for kind, features in (("Spot", _SPOT_FEATURES), ("Edge", _EDGE_FEATURES), ("Track", _TRACK_FEATURES)):
        yield f"      <{kind}Features>"
        for feature, (name, dimension, is_int) in features.items():
            yield (
                f'        <Feature feature="{feature}" name="{name}" shortname="{name}" dimension="{dimension}" '
                f'isint="{str(is_int).lower()}" />'
            )
        yield f"      </{kind}Features>"
    yield "    </FeatureDeclarations>"
    yield from _spots(tracks.detections, placed)
    yield from _tracks(tracks, links)
    yield "  </Model>"
    yield from _settings(tracks.detections)
    yield "</TrackMate>"


def _spots(found: Detections, placed: Ints) -> Iterator[str]:
    yield f'    <AllSpots nspots="{len(placed)}">'
    low, high = found.box[:, : found.ndim], found.box[:, found.ndim :]
    middle, side = (low + high) / 2 - 0.5, high - low
    depth = [0.0] * (3 - found.ndim)
    for frame, first in _firsts(found.frame[placed]):
        yield f'      <SpotsInFrame frame="{frame}">'
        for row in placed[first:].tolist():
            if found.frame[row] != frame:
                break
            place: list[float] = middle[row].tolist()
            x, y, z = place + depth
            is_point = not side[row].any()
            radius = 1.0 if is_point else float(np.prod(side[row]) ** (1 / found.ndim) / 2)
            quality = -1.0 if found.score is None else float(found.score[row])
            outline = "" if is_point or found.ndim == 3 or np.ptp(side[row]) == 0 else _corners(side[row].tolist())
            yield (
                f'        <Spot ID="{row}" name="ID{row}" QUALITY="{_text(quality)}" POSITION_X="{x!r}" '
                f'POSITION_Y="{y!r}" POSITION_Z="{z!r}" POSITION_T="{frame}.0" FRAME="{frame}" RADIUS="{radius!r}" '
                f'VISIBILITY="1"{f" {POINT}=" + chr(34) + "1" + chr(34) if is_point else ""}'
                + (f' ROI_N_POINTS="4">{outline}</Spot>' if outline else " />")
            )
        yield "      </SpotsInFrame>"
    yield "    </AllSpots>"


def _firsts(frame: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Each frame, and the first place where it stands."""
    frames, first = np.unique(frame, return_index=True)
    return list(zip(frames.tolist(), first.tolist(), strict=True))


def _corners(side: list[float]) -> str:
    """A box as an outline, from its middle."""
    x, y = side[0] / 2, side[1] / 2
    return f"{-x!r} {-y!r} {x!r} {-y!r} {x!r} {y!r} {-x!r} {y!r}"


def _text(value: float) -> str:
    return "NaN" if np.isnan(value) else repr(value)


def _tracks(tracks: Tracks, links: Ints) -> Iterator[str]:
    """TrackMate's tracks are lineages: all that came from one founder."""
    founder = tracks.lineages()
    of = np.array([founder[int(tracks.track[row])] for row in links[:, 0]], dtype=np.int64)
    numbers = np.unique(of).tolist()
    yield "    <AllTracks>"
    for index, number in enumerate(numbers):
        name = quoteattr(tracks.names.get(number, f"Track_{number}"))
        yield f'      <Track name={name} TRACK_INDEX="{index}" TRACK_ID="{number}">'
        for source, target in links[of == number].tolist():
            yield f'        <Edge SPOT_SOURCE_ID="{source}" SPOT_TARGET_ID="{target}" />'
        yield "      </Track>"
    yield "    </AllTracks>"
    yield "    <FilteredTracks>"
    yield from (f'      <TrackID TRACK_ID="{number}" />' for number in numbers)
    yield "    </FilteredTracks>"


def _settings(found: Detections) -> Iterator[str]:
    """The image and empty settings, which its reader asks for."""
    video = found.video
    path = Path(video.path) if video and video.path else None
    height, width = video.shape if video and video.shape else (0, 0)
    where = f"filename={quoteattr(path.name if path else '')} folder={quoteattr(str(path.parent) if path else '')}"
    yield "  <Settings>"
    yield (
        f'    <ImageData {where} width="{width}" height="{height}" nslices="1" nframes="{found.n_frames}" '
        'pixelwidth="1.0" pixelheight="1.0" voxeldepth="1.0" timeinterval="1.0" />'
    )
    yield (
        f'    <BasicSettings xstart="0" xend="{max(width - 1, 0)}" ystart="0" yend="{max(height - 1, 0)}" zstart="0" '
        f'zend="0" tstart="0" tend="{max(found.n_frames - 1, 0)}" />'
    )
    yield '    <InitialSpotFilter feature="QUALITY" value="0.0" isabove="true" />'
    yield "    <SpotFilterCollection />"
    yield "    <TrackFilterCollection />"
    yield "    <AnalyzerCollection><SpotAnalyzers /><EdgeAnalyzers /><TrackAnalyzers /></AnalyzerCollection>"
    yield "  </Settings>"
    yield '  <GUIState state="ConfigureViews" />'


__all__ = ["write"]
