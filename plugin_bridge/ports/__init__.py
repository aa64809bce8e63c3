"""MIDI in and out: transports, virtual and existing ports, and raw messages as events."""
