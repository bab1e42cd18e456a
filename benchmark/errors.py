"""Faults of the machine, as opposed to faults in what was asked for."""


class MachineError(Exception):
    """The machine does not let the work be done; nothing that was asked for is wrong."""
