"""The on-disk layouts of the published syft-job clients: one module per family. See docs/layouts.md."""
