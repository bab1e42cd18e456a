"""Faults of the machine and the end of the time, as opposed to faults in what was asked for."""


class MachineError(Exception):
    """The machine does not let the work be done; nothing that was asked for is wrong."""


class TimeIsUpError(Exception):
    """The time is up before all is done: the same command goes on."""
