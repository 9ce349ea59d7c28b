"""What docs/paper.md says about one equation, table, figure or claim of the paper."""

from __future__ import annotations

from dataclasses import dataclass

from .rows import Measured, Printed


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that the paper says, and where the kit has it.

    number: where it is in the paper, such as "Eq. 4"; says: what the paper says, in the kit's words.
    notebooks: sections, "NN · HEADING"; code, tests: "FILE::NAME".
    checked: what the tests compare; measured: recorded runs; reading: what these runs are, without a number.
    not_tested: what stays open; because: why it cannot be tested here (instead of not_tested).
    """

    number: str
    title: str
    says: str
    notebooks: tuple[str, ...]
    code: tuple[str, ...]
    tests: tuple[str, ...]
    checked: str = ""
    printed: tuple[Printed, ...] = ()
    measured: tuple[Measured, ...] = ()
    reading: str = ""
    not_tested: str = ""
    because: str = ""

    @property
    def heading(self) -> str:
        """The title of its section."""
        return f"{self.number} · {self.title}"

    @property
    def state(self) -> str:
        """What was done about it, in a few words."""
        if self.measured:
            with_zero = sum(comparison.place == "contains zero" for comparison in self.measured)
            return f"smaller setting: {with_zero} of {len(self.measured)} intervals contain zero"
        if self.because:
            return "cannot be tested here"
        return "not tested" if self.not_tested else "tested as code"
