// @ts-check
// Runs bytecode.py in Pyodide: node bytecode.mjs PYODIDE_FOLDER PROGRAM SOURCES.zip OUT.zip FOLDER
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, program, sources, out, where] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const pyodide = await loadPyodide({ indexURL: folder });
pyodide.FS.writeFile("/sources.zip", readFileSync(sources));
pyodide.FS.writeFile("/program.py", readFileSync(program));
pyodide.runPython(`
import sys
sys.path.insert(0, "/")
from program import compile_zip
`);
pyodide.globals.get("compile_zip")("/sources.zip", "/out.zip", where);
writeFileSync(out, pyodide.FS.readFile("/out.zip"));
