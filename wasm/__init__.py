"""What the browser needs beside the package: page, worker and launch executor. Installed as tensorgl.wasm."""
