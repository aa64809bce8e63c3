"""The bridge as a process that is simply there: configuration, ports, control, page, services."""
