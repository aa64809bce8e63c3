"""Music as values and pure functions: no clock, no threads, no I/O but files."""
