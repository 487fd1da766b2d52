"""Real trainings as a world to search: each is run when a search asks for it, and kept in a table.

A search is judged by trainings that it never saw: each network that was on its front when it came,
and only these, is trained once more with another seed. What is worse than the weakest published
network adds nothing. Searches that ask for the same network with the same seed share its training,
and an interrupted comparison goes on from what the table holds. So do comparisons that run beside
each other, each with seeds of its own.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.bench.networks import Networks
from nas.bench.table_training import train_entry
from nas.bench.world import scores_of
from nas.data import Prepared, open_data
from nas.folder import Progress
from nas.json_lines import locked
from nas.pareto import Floats, hypervolume
from nas.sampler.genes import Codes
from nas.trained_table import Entry, Plan, add_entry, begin_table, read_table
from primitives.core.errors import InvalidInput
from search_spaces.core.space import Point

_BASE_SEEDS = (0, 1)  # of the trainings that tell what the published networks are worth


class LiveWorld:
    """See the module, and `world.World`.

    Args:
        path: of the table.
        plan: of the table.
        prepared: the data.
        device: to train on.
        progress: called after each training.

    Raises:
        InvalidInput: the file is of another plan, or its limit is below all published networks.
        OSError: it cannot be written.
    """

    fewest = 0.0  # the smallest are trained like all others

    def __init__(
        self, path: Path, plan: Plan, prepared: Prepared, device: torch.device, progress: Progress
    ) -> None:
        self.plan = plan
        self.nets = Networks(plan.space, plan.channels, plan.size)
        if not self.published():
            raise InvalidInput(
                f"a live search begins with a published network, {plan.space} has none of at most "
                f"{plan.most_params} parameters and {plan.most_macs or 'any number of'} "
                "multiply-adds; make a table with larger --most-params or --most-macs"
            )
        self._path, self._prepared, self._progress = path, prepared, progress
        self._data = open_data(prepared, device)
        self._entries = {(entry.key, entry.seed): entry for entry in begin_table(path, plan)}
        self._worst = min(
            np.mean([self.trained(codes, seed) for seed in _BASE_SEEDS])
            for codes in self.nets.genes.encode(self.published())
        )

    def training(self, codes: Codes, seed: int, number: int) -> Floats:
        """Return the scores of a training, whatever its number; see `World`."""
        return np.array(scores_of(self._entry(codes, 2 * seed), self.plan.rungs))

    def dice(self, codes: Codes, seed: int) -> float:
        """Return the Dice of a training that the search never saw; see `World`."""
        return self.trained(codes, 2 * seed + 1)

    def seconds(self, codes: Codes, seed: int) -> float:
        """Return how long the search's training took; see `World`."""
        return self._entry(codes, 2 * seed).seconds

    def losses(self, codes: Codes, seed: int, limit: float) -> Floats:
        """Return the losses of networks that were on the front when they came, 0 of the others."""
        told = np.array([self.training(row, seed, 0)[0] for row in codes])
        return self.judged(codes, told, 2 * seed + 1, limit)

    def judged(self, codes: Codes, told: Floats, seed: int, limit: float) -> Floats:
        """Return the losses of networks that were on the front when they came, 0 of the others.

        Args:
            codes: of the networks, in order of their trainings.
            told: Dice of these.
            seed: of the trainings that they are judged by.
            limit: the most parameters.

        Shape: (n, genes), (n,) -> (n, 2)
        """
        params = np.log([self.nets.facts(row)[1] for row in codes]) - np.log(limit)
        losses = np.zeros((len(codes), 2))
        for i, row in enumerate(codes):
            before = slice(0, i)
            if not ((told[before] >= told[i]) & (params[before] <= params[i])).any():
                losses[i] = self._worst - self.trained(row, seed), params[i]
        return losses

    def trained(self, codes: Codes, seed: int) -> float:
        """Return the Dice of a network's training with a seed.

        Shape: (genes,)
        """
        return self._entry(codes, seed).dice

    def published(self) -> list[Point]:
        """Return the published networks within the plan's limit; see `World`."""
        points = [baseline.point for _, baseline in self.nets.space.seeds()]
        costs = zip(*self.nets.cost(points).values(), strict=True)
        return [p for p, cost in zip(points, costs, strict=True) if self.plan.allows(*cost)]

    def best(self, limit: float) -> float:
        """Return the hypervolume of the mean Dice of all that was trained; see `World`."""
        dice: dict[str, list[float]] = {}
        for entry in self._entries.values():
            dice.setdefault(entry.key, []).append(entry.dice)
        params = {entry.key: entry.params for entry in self._entries.values()}
        rows = [
            [self._worst - np.mean(found), np.log(params[key] / limit)]
            for key, found in dice.items()
            if len(found) > 1  # the best of many single trainings flatters
        ]
        return hypervolume(np.array(rows), np.zeros(2))

    def _entry(self, codes: Codes, seed: int) -> Entry:
        key = self.nets.facts(codes)[0]
        if (key, seed) not in self._entries:
            self._take_up()
        if (key, seed) not in self._entries:
            job = 0, "searched", self.nets.genes.decode(codes), seed
            entry = train_entry(job, self.plan, self._prepared, self._data)
            with locked(self._path):
                self._add(entry)
            self._progress("trainings", len(self._entries), 0)
        return self._entries[key, seed]

    def _take_up(self) -> None:
        """Read what other processes have added."""
        _, found = read_table(self._path)
        self._entries |= {(entry.key, entry.seed): entry for entry in found}

    def _add(self, entry: Entry) -> None:
        """Add a training with the number of its network, unless another process was faster."""
        self._take_up()
        if (entry.key, entry.seed) not in self._entries:
            numbers = {one.key: one.net for one in self._entries.values()}
            net = numbers.get(entry.key, max(numbers.values(), default=-1) + 1)
            self._entries[entry.key, entry.seed] = replace(entry, net=net)
            add_entry(self._path, self._entries[entry.key, entry.seed])
