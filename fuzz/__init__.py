"""Damaged files of every format, fed to the readers: `make fuzz`."""
