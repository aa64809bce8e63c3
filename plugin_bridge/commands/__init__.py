"""The commands, by what they are for. Each parses, calls, and prints."""
