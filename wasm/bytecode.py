"""Compiles Python sources for the interpreter that runs it: `python bytecode.py SOURCES.zip OUT.zip`.

A tab would compile every module anew, as its file system forgets. This runs in whatever has the
tab's version of Python, Pyodide included, so it knows the standard library only.
"""

import importlib.util
import marshal
import sys
import zipfile

__all__ = ["compile_zip"]

# "By hash of the source, and never look": the import system then reads no source at all.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def compile_zip(sources: str, out: str, folder: str) -> None:
    """Compile every file of a zip.

    Args:
        sources: Path of a zip of Python files.
        out: Path of the zip to write; it has the bytecode of each file under the same name.
        folder: Where the files will lie when they run, for tracebacks.
    """
    with zipfile.ZipFile(sources) as archive, zipfile.ZipFile(out, "w") as compiled:
        for name in archive.namelist():
            source = archive.read(name)
            code = compile(source, f"{folder}/{name}", "exec", dont_inherit=True)
            head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH
            compiled.writestr(name, head + importlib.util.source_hash(source) + marshal.dumps(code))


if __name__ == "__main__":
    compile_zip(*sys.argv[1:])
