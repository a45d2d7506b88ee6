"""A verdict is stored as a box for the reader and as data for the claims page; the pages show the box alone."""

import json

from dlbook.claims import MIME


def drop_data(app, docname, source) -> None:
    """Take the data out of a notebook as it is read: to myst-nb its type is unknown, which is a warning."""
    if MIME not in source[0]:
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(MIME, None)
    source[0] = json.dumps(notebook)


def setup(app) -> dict:
    app.connect("source-read", drop_data)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
