"""DREEM's YAML configs, read as what they ask for in our words.

`fates` says what may become of a key, `keys` what becomes of each, `values` how values change, `files` which files are
meant, and `reading` does it.
"""

from kintrack.from_dreem.files import Files, choose_annotated
from kintrack.from_dreem.reading import Asked, ask, is_dreems, lay_over

__all__ = ["Asked", "Files", "ask", "choose_annotated", "is_dreems", "lay_over"]
