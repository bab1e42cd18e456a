"""Faults of the machine and the end of the time, as opposed to faults in what was asked for."""


class MachineError(Exception):
    """The machine does not let the work be done; nothing that was asked for is wrong."""


class TimeIsUpError(Exception):
    """The time is up before all is done: the same command goes on."""


class OutputError(MachineError):
    """What is printed cannot be written.

    Args:
        fault: What the system says.

    Attributes:
        closed: Whether its reader has gone, as ``head`` does when it has seen enough.
    """

    def __init__(self, fault: OSError) -> None:
        super().__init__(f"cannot write the output: {fault.strerror}")
        self.closed = isinstance(fault, BrokenPipeError)
