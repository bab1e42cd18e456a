"""Faults of the machine, and what is left for later, as opposed to faults in what was asked for."""


class MachineError(Exception):
    """The machine does not let the work be done; nothing that was asked for is wrong."""


class TryAgainError(Exception):
    """Not all is done yet, and the same command later does more: the time was up, or another command is at the rest."""


class OutputError(MachineError):
    """What is printed cannot be written; ``closed`` if its reader has gone, as ``head`` when it has seen enough."""

    def __init__(self, fault: OSError) -> None:
        super().__init__(f"cannot write the output: {fault.strerror}")
        self.closed = isinstance(fault, BrokenPipeError)
