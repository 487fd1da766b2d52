"""What a process learns of its kernel and warp, anew each time its results grow by a tenth."""

from collections.abc import Callable
from dataclasses import dataclass

from nas.pareto import Floats
from nas.sampler.similarity import Inputs, Similarity
from nas.sampler.surrogate import Parameters, fit, prior
from nas.sampler.warp import Margins, Warp, choose_margins

FIRST = 10  # results of the first fit, if there are so many


@dataclass(frozen=True, slots=True)
class Learned:
    """Kernel and warp.

    Attributes:
        parameters: of the kernel.
        margins: of the warp.
    """

    parameters: Parameters
    margins: Margins = (10.0, 10.0)


class Memory:
    """Keeps what was learned; it depends on the results alone, not on when a search was stopped."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Learned] = {}

    def recall(self, name: str, count: int, learn: Callable[[int], Learned]) -> Learned:
        """Return what is known after `count` results.

        Args:
            name: of the process.
            count: results there are.
            learn: takes the number of first results to learn from.
        """
        size = min(FIRST, count)
        while (grown := size + max(1, size // 10)) <= count:
            size = grown
        if (name, size) not in self._known:
            self._known[name, size] = learn(size)
        return self._known[name, size]


def learn(
    similarity: Similarity,
    inputs: Inputs,
    values: Floats,
    counts: Floats,
    rest: Callable[[Floats], Floats] = lambda latent: latent,
) -> Learned:
    """Learn the warp of values, then the kernel.

    Args:
        similarity: of the genes.
        inputs: of the values.
        values: measured.
        counts: measurements that each value is the mean of.
        rest: takes latent values and returns what of them is to be explained.
    """
    margins = choose_margins(similarity, inputs, values, counts, prior(inputs, similarity))
    warp = Warp.around(values, margins)
    found = fit(similarity, inputs, rest(warp.latent(values)), warp.worth(values, counts))
    return Learned(found, margins)
