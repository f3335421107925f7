"""The picture of the README, from the demo: a frame of its movie, and where everyone is over time.

    python scripts/demo_picture.py [--model NAME_OR_PATH] [--seed 0] [--frame 149]

Writes docs/images/demo.png.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from kintrack import api, load_video

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
HEIGHT, WIDTH = 480, 1240
GREYS, COLOURS = 28, 120  # a palette of its own for what is drawn, or the many greys would take it all


def picture(folder: Path, frame: int) -> Image.Image:
    """Of what the demo has left in a folder: to the left a frame of the movie, to the right its paths."""
    with load_video(folder / "tracked.mp4") as movie:
        shown = Image.fromarray(np.asarray(movie[frame]))
    shown = shown.resize((round(shown.width * HEIGHT / shown.height), HEIGHT), Image.Resampling.LANCZOS)
    with Image.open(folder / "paths.png") as paths:
        beside = paths.convert("RGB").resize((WIDTH - shown.width, HEIGHT), Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (WIDTH, HEIGHT), "white")
    whole.paste(shown, (0, 0))
    whole.paste(beside, (shown.width, 0))
    return whole.quantize(palette=palette_of(whole), dither=Image.Dither.NONE)


def palette_of(image: Image.Image) -> Image.Image:
    """Evenly spaced greys, and the colours of whatever is no grey."""
    pixels = np.asarray(image).reshape(-1, 3)
    vivid = pixels[np.ptp(pixels.astype(int), axis=1) > 40]
    colours = Image.fromarray(vivid[None]).quantize(COLOURS).getpalette() or []
    greys = np.linspace(0, 255, GREYS).round().astype(int).repeat(3).tolist()
    palette = Image.new("P", (1, 1))
    palette.putpalette((greys + colours)[: 3 * (GREYS + COLOURS)])
    return palette


def main() -> None:
    """Runs the demo and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="general")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frame", type=int, default=149)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "demo"
        api.demo(folder, seed=options.seed, model=options.model)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        picture(folder, options.frame).save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
