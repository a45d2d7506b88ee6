"""What `make` runs beside the book: set-up, the lock, the chapters. Run as `python -m tools.<name>`."""
