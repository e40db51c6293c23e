"""The rows of a report, streamed from SQL: what is counted of every item, more of those shown."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from editvec.batch.recipes.recipe import Recipe
from editvec.batch.reports.pictures import Row
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.models import RunInput, RunItem
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.manifests import leftover_row
from editvec.batch.sinks.sink import Sink
from editvec.registry.tables.database import reading

_STATES = ("done", "rejected", "failed", "quarantined", "cancelled")
_ROWS_AT_A_TIME = 2_000


class ReportRows:
    """The decided items of a run, in the order of inputs and recipes."""

    def __init__(self, runs: Runs, run: RunRecord, sink: Sink) -> None:
        """Reads nothing yet.

        Args:
            runs: where the items are.
            run: the run, which may still go on.
            sink: knows where the files of its items lie.
        """
        self.runs = runs
        self.run = run
        self.sink = sink

    def __iter__(self) -> Iterator[Row]:
        """Rows with what is counted of an item, and where `complete` finds the rest."""
        plan = self.run.plan
        described = [_Described(self.run, recipe) for recipe in plan.recipes]
        columns = (RunItem.position, RunItem.recipe_position, RunItem.state)
        query = (
            select(*columns, RunItem.reason, RunItem.metrics, RunInput.relative_path)
            .join(
                RunInput,
                (RunInput.run_id == RunItem.run_id) & (RunInput.position == RunItem.position),
            )
            .where(RunItem.run_id == self.run.id, RunItem.state.in_(_STATES))
            .order_by(RunItem.position, RunItem.recipe_position)
            .execution_options(yield_per=_ROWS_AT_A_TIME)
        )
        with reading(self.runs.engine) as session:
            for position, number, state, reason, metrics, source in session.execute(query):
                recipe = described[number]
                yield {
                    "position": position,
                    "recipe_position": number,
                    "recipe": recipe.name,
                    "state": state,
                    "reason": reason,
                    "source": source,
                    "metrics": metrics,
                    "attributes": recipe.attributes_at(position),
                }

    def complete(self, row: Row) -> Row:
        """A row with the names of its files, and its vectors at the scales that it got."""
        number = row["recipe_position"]
        # to the end: PostgreSQL keeps a cursor open for what is left in the middle
        found = list(
            self.runs.items(self.run.id, states=[row["state"]], first=row["position"], count=1)
        )
        for item in found:
            if item.recipe_position == number:
                edits = self.run.plan.edits_of(number, item.input.position)
                vectors = [one.to_json() for one in edits]
                if item.state == "done":
                    # a manifest has numbers for what was not measured, or not edited
                    told = {"metrics": item.metrics, "vectors": vectors}
                    return {**row, **self.sink.row(item), **told}
                return {**row, **leftover_row(self.run.plan, item), "vectors": vectors}
        return row


class _Described:
    """A recipe of the run, with the attributes that its items have."""

    def __init__(self, run: RunRecord, recipe: Recipe) -> None:
        self.name = recipe.name
        self._plan, self._recipe = run.plan, recipe
        self._base = dict.fromkeys(run.plan.attribute_names, 0.0)
        self._fixed = None if recipe.is_drawn else self._drawn(0)

    def attributes_at(self, position: int) -> dict[str, float]:
        """The scale of every attribute of the run."""
        return self._drawn(position) if self._fixed is None else self._fixed

    def _drawn(self, position: int) -> dict[str, float]:
        plan = self._plan
        edits = self._recipe.edits_at(position, seed=plan.settings.seed, count=plan.input_count)
        return self._base | {edit.vector.attribute: edit.scale for edit in edits}
