"""`predict` over a large archive: several processes or machines, restartable. docs/archives.md."""
