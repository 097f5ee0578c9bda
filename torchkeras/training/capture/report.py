"""What a person is told about how steps ran."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StepReport:
    """How the steps of a model ran last; printed, it says so in words.

    Attributes:
        kind: ``'captured'``, ``'eager'`` or ``'none'`` before any step.
        reason: why the step is eager; ``None`` for a captured one.
        calls: torch calls in a captured step; ``None`` for an eager one.
        rules: name of each rewriting rule -> how often it was applied.
        parts: the same for evaluation and prediction, by ``'evaluate'`` and ``'predict'``.
    """

    kind: str = "none"
    reason: str | None = None
    calls: int | None = None
    rules: dict[str, int] = field(default_factory=dict)
    parts: dict[str, StepReport] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"train: {self._line()}"] if self.kind != "none" or not self.parts else []
        lines += [f"{name}: {part._line()}" for name, part in self.parts.items()]
        return "\n".join(lines)

    def _line(self) -> str:
        if self.kind == "none":
            return "no step yet"
        if self.kind == "eager":
            return f"eager, since {self.reason}"
        applied = ", ".join(f"{name} ×{count}" for name, count in self.rules.items())
        return f"captured, {self.calls} torch calls a step" + (f" ({applied})" if applied else "")
