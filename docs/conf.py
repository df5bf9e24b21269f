"""How Sphinx makes a site of these pages: `make docs`. It loads nothing from elsewhere."""

from __future__ import annotations

from modelyard import __version__

project = "Modelyard"
release = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
nitpicky = True
myst_heading_anchors = 3
smartquotes = False  # what tables show of JSON is copied

html_theme = "furo"
html_title = f"Modelyard {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
