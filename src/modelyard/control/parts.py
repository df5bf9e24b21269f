"""The parts of one server's control plane, put together. Owns who is told what; holds no logic.

For `Plane`, behind which they are, and for the tests of control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelyard.catalog.catalog import Catalog
from modelyard.clock import Clock
from modelyard.control.adoption import Adoption
from modelyard.control.bases import Bases
from modelyard.control.boots import Boots
from modelyard.control.clusters import Clusters
from modelyard.control.desired import DesiredState
from modelyard.control.holdings import Holdings
from modelyard.control.journal import Journal
from modelyard.control.launch_funds import LaunchFunds, LaunchRefusal
from modelyard.control.observation import Observation
from modelyard.control.policy import Policy
from modelyard.control.preparation import Preparations
from modelyard.control.reconciler import Reconciler
from modelyard.control.records import Records
from modelyard.control.room import QuotaOf
from modelyard.control.routes import Routes
from modelyard.control.stops import Stops
from modelyard.control.suspensions import SuspensionOf, Suspensions
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Engine
from modelyard.store.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """What the control plane consists of."""

    engine: Engine
    catalog: Catalog
    store: Store
    journal: Journal
    records: Records
    clock: Clock
    routes: Routes
    preparations: Preparations
    desired: DesiredState
    holdings: Holdings
    boots: Boots
    reconciler: Reconciler
    clusters: Clusters


def assemble(
    engine: Engine,
    catalog: Catalog,
    store: Store,
    journal: Journal,
    records: Records,
    routes: Routes,
    clock: Clock,
    policy: Policy,
    *,
    server_id: str,
    quota_of: QuotaOf,
    suspension_of: SuspensionOf,
    launch_refusal: LaunchRefusal,
    work: WorkQueue,
    operator_id: str = "",
    leads: Callable[[], bool] = lambda: True,
    on_ready: Callable[[], None] = lambda: None,
) -> Parts:
    """The parts, not started. `operator_id`: the account that may know what others do. `leads`: whether this
    server is, at this moment, the one that acts. `on_ready`: told of each replica that became ready.

    `work`: told of all that changes something, by `routes` too; the loop then looks."""
    preparations = Preparations(catalog, engine.prepare, clock, work.wake)
    desired = DesiredState(store, routes, preparations, clock, policy, work)
    holdings = Holdings(desired.active, clock)
    stops = Stops(engine, routes, records, policy, work.wake)
    funds = LaunchFunds(holdings, launch_refusal)
    boots = Boots(
        holdings,
        engine,
        preparations,
        records,
        stops,
        policy,
        quota_of,
        funds,
        work.wake,
        work.add,
        clock,
        may_use=catalog.may_use,
        form_of=catalog.form_of,
        bases=Bases(desired, catalog.form_of, work.add),
        operator_id=operator_id,
    )
    observation = Observation(desired, engine, records, boots, funds, routes, holdings, work, policy, on_ready)
    reconciler = Reconciler(
        desired,
        observation,
        holdings,
        boots,
        stops,
        engine,
        records,
        store,
        clock,
        policy,
        server_id=server_id,
        suspensions=Suspensions(suspension_of, desired, records),
        work=work,
        adoption=Adoption(desired, engine, records, stops, clock, holdings, work.add),
        leads=leads,
    )
    clusters = Clusters(store, catalog, preparations, desired, journal, clock, policy, quota_of=quota_of)
    return Parts(
        engine,
        catalog,
        store,
        journal,
        records,
        clock,
        routes,
        preparations,
        desired,
        holdings,
        boots,
        reconciler,
        clusters,
    )
