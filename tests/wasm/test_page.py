"""What the playground needs made for it: the gallery, and modules that import each other by path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tensorgl.wasm import page


def test_gallery() -> None:
    files = {
        "tensorgl/examples/__init__.py": b'"""Scripts."""',
        "tensorgl/examples/digits_cnn.py": '"""Ziffern für alle.\n\nMore.\n"""\n'.encode(),
        "tensorgl/examples/a.py": b"print(1)",
        "tensorgl/examples/poem.txt": b"roses",
        "tensorgl/nn/linear.py": b'"""No example."""',
    }
    assert json.loads(page.gallery(files)) == {
        "scripts": [
            {
                "name": "digits_cnn",
                "title": "Ziffern für alle",
                "source": files["tensorgl/examples/digits_cnn.py"].decode(),
            },
            {"name": "a", "title": "a", "source": "print(1)"},
        ],
        "data": {"poem.txt": "roses"},
    }


@pytest.fixture
def vendored(tmp_path: Path) -> Path:
    """A folder with an empty file for each of frontend.json."""
    parts = json.loads(Path(page.__file__).with_name("frontend.json").read_text())
    for part in parts.values():
        for file in part["files"].values():
            path = tmp_path / file["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    return tmp_path


def test_modules_import_by_path(vendored: Path) -> None:
    module = vendored / "codemirror" / "view.js"
    module.write_text(
        "import { A, B } from '@codemirror/state';\n"
        'import elt from "crelt"\n'
        "export { C } from '@lezer/common';\n"
        "const text = \"import x from '@codemirror/state';\";\n"
    )
    page.link(vendored)
    assert module.read_text() == (
        "import { A, B } from './state.js';\n"
        'import elt from "./../crelt.js"\n'
        "export { C } from './../lezer/common.js';\n"
        "const text = \"import x from '@codemirror/state';\";\n"
    )


def test_a_package_that_is_not_there(vendored: Path) -> None:
    (vendored / "crelt.js").write_text("import x from 'other';\n")
    with pytest.raises(ValueError, match=r"crelt\.js imports other"):
        page.link(vendored)
