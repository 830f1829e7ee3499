"""Build the documentation: ``tox run -e docs``."""

from __future__ import annotations

import os

import ctxkit

project = "ctxkit"
author = "The ctxkit maintainers"
project_copyright = author
release = version = ctxkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changelog.d"]
html_theme = "furo"
html_title = f"ctxkit {release}"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "smartquotes"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Context", "notes_style"), ("Safety", "notes_style")]
python_use_unqualified_type_names = True

# Every name of ours that is referred to has to exist. Names of others are links where their
# inventories can be had, and plain text in a build without a network.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!ctxkit\b).*"),
    # Type variables, and types that signatures name and nobody else.
    (r"py:.*", r"ctxkit\..*\.([DPRT]|Missing|Terms)"),
    (r"py:.*", r"ctxkit\..*\.Hook\[.*"),  # its parameters, which autodoc takes for one name
]
if os.environ.get("READTHEDOCS"):
    extensions += ["sphinx.ext.intersphinx"]
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "django": (
            "https://docs.djangoproject.com/en/stable/",
            "https://docs.djangoproject.com/en/stable/_objects/",
        ),
    }
