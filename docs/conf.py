"""The documentation site: `make site` builds it from the Markdown files of the project into build/site."""

import syftnotify

project = "syftnotify"
author = "the authors of syftnotify"
version = release = syftnotify.__version__
# The project's folder is the source, so that links between its files are the same here and as plain Markdown.
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**"]
root_doc = "docs/index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
html_theme = "furo"
html_extra_path = ["site"]  # leads from the top of the site to its first page
html_title = f"syftnotify {release}"
