"""The daemon as a service of the operating system: one module for each system, one interface."""
