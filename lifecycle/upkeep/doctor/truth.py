"""The home, the registry and the store, and whether what the registry needs is in the store.

Nothing is made or migrated. A probe is written into the home and the store, and removed again.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from lifecycle.errors import Corrupt, DabtError, InvalidConfig, NotFound
from lifecycle.home import Home
from lifecycle.registry import tables
from lifecycle.registry.database import Database, parse, schema_of
from lifecycle.registry.need_book import NeedBook, Needs
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.store.stock import Stock
from lifecycle.text.counting import counted
from lifecycle.upkeep.doctor.finding import Finding, fault, ok, warning
from lifecycle.upkeep.doctor.server import server
from lifecycle.version import Digest

_APART, _FAR_APART = 2.0, 60.0
"""Seconds between two clocks."""
_TOLD = 5


def home(place: Home) -> Iterator[Finding]:
    if not place.root.exists():
        yield warning(
            "home", f"{place.root} is not there", "it is made by the first command; or name another: DABT_HOME"
        )
        return
    probe = place.root / f".doctor-{uuid.uuid4().hex}"
    try:
        probe.write_text("probe", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        yield fault("home", f"{place.root} cannot be written: {error.strerror}", f"`chown -R $(id -u) {place.root}`")
        return
    yield ok("home", str(place.root))


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry told; None when it could not be asked."""

    needs: Needs | None = None


def registry(place: Home, *, deep: bool) -> Iterator[Finding | Known]:
    """Its findings, and then what it knows."""
    yield from _registry(place.registry_url, deep=deep)


def _registry(url: str, *, deep: bool) -> Iterator[Finding | Known]:
    try:
        database = Database(url, new=False)
    except DabtError as error:
        cure = "`uv pip install 'psycopg[binary]'`" if "driver" in str(error) else "correct DABT_REGISTRY_URL"
        yield fault("registry", str(error), cure)
        return
    sqlite = parse(url).get_backend_name() == "sqlite"
    file = Path(str(parse(url).database))
    if sqlite and not file.exists():
        yield warning("registry", f"there is none at {file} yet", "it is made by the first command; or `dabt restore`")
        return
    with closing(database):
        began = datetime.now(UTC)
        try:
            with database.look() as tx:
                number, revision = schema_of(tx)
                moment = tx.execute(select(func.now())).scalar_one() if not sqlite else None
        except DabtError as error:
            yield fault("registry", str(error), _cure_of_registry(str(error), sqlite, file))
            return
        yield _of_schema(database.name, number, revision)
        if isinstance(moment, datetime):
            yield _of_clock(_ahead(moment, began, datetime.now(UTC)))
        if not sqlite:
            try:
                yield from server(database, url)
            except DabtError as error:
                yield fault("registry", str(error), _cure_of_registry(str(error), sqlite, file))
        if sqlite and not os.access(file, os.W_OK):
            yield fault("registry", f"{file} cannot be written", f"`chown $(id -u) {file}*`")
        if sqlite and deep:
            yield _of_pages(file)
        if (number, revision) == (tables.SCHEMA_VERSION, tables.REVISION):
            try:
                yield Known(NeedBook(database).all())
            except DabtError as error:
                yield fault("registry", str(error), "restore a backup: `dabt restore`")


def _cure_of_registry(told: str, sqlite: bool, file: Path) -> str:
    if not sqlite:
        return "start the server, or correct DABT_REGISTRY_URL: host, port, user, password and database"
    if "malformed" in told or "not a database" in told:
        return f"move {file} away and restore a backup: `dabt restore`"
    return f"see that {file} and its folder can be read and written by this user"


def _of_schema(name: str, number: int, revision: str | None) -> Finding:
    if number == 0:
        return warning("schema", f"{name} has no tables yet", "they are made by the first command; or `dabt restore`")
    if number > tables.SCHEMA_VERSION:
        return fault(
            "schema",
            f"{name} has schema {number}, and this release reads {tables.SCHEMA_VERSION}",
            "use the release that wrote it, or restore the backup from before the upgrade",
        )
    if number < tables.SCHEMA_VERSION:
        return warning(
            "schema",
            f"{name} has schema {number}; the first command of this release migrates it to {tables.SCHEMA_VERSION}",
            "back it up first: `dabt backup`; earlier releases cannot read it afterwards",
        )
    if revision != tables.REVISION:
        return fault(
            "schema",
            f"{name} is at migration {revision or 'none'} with schema {number}, which goes with {tables.REVISION}",
            "somebody changed it by hand: restore a backup: `dabt restore`",
        )
    return ok("schema", f"{number}, migration {revision}, at {name}")


def _ahead(moment: datetime, began: datetime, ended: datetime) -> float:
    """Seconds by which a clock is ahead that told the moment in between; none as far as the asking itself took them."""
    return (moment - min(max(moment, began), ended)).total_seconds()


def _of_clock(ahead: float) -> Finding:
    says = f"the registry's server is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    cure = "let both follow the network's time: `timedatectl set-ntp true`"
    if abs(ahead) > _FAR_APART:
        return fault("clock", says, cure)
    return warning("clock", says, cure) if abs(ahead) > _APART else ok("clock", says)


def _of_pages(file: Path) -> Finding:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            told = str(connection.execute("PRAGMA integrity_check").fetchone()[0]).splitlines()[0]
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        told, broken = str(error), None
    if told != "ok":
        return fault("pages", f"SQLite finds {file} damaged: {told}", "restore a backup: `dabt restore`")
    if broken:
        return fault("pages", f"a row of {broken[0]} names none of {broken[2]}", "restore a backup: `dabt restore`")
    return ok("pages", "SQLite finds all pages and references whole")


def store(place: Home) -> Iterator[Finding]:
    url = place.artifacts_url
    try:
        opened = ArtifactStore(url, place.cache)
    except InvalidConfig as error:
        needs = "`uv pip install s3fs`" if importlib.util.find_spec("s3fs") is None and "s3" in url else ""
        yield fault("store", str(error), needs or "correct DABT_ARTIFACTS_URL")
        return
    if "://" not in url and not Path(url).expanduser().exists():
        yield warning(
            "store", f"{url} is not there", "it is made with the first artifact; or correct DABT_ARTIFACTS_URL"
        )
        return
    stock = Stock(opened)
    try:
        held = len(stock.holdings())
        refused = stock.refuses_to_overwrite()
    except (DabtError, OSError) as error:
        cure = "see that it is there and that this user may list, read, write and delete in it"
        yield fault("store", str(error), f"{cure}; correct DABT_ARTIFACTS_URL or the credentials")
        return
    yield ok("store", f"{counted(held, 'folder')} at {url}; it is read and written")
    if refused is False:
        says = "it overwrites what a writer has asked to be left alone (If-None-Match)"
        yield warning("store", says, "switch conditional writes on, or use a store that has them")


def artifacts(place: Home, needs: Needs, *, deep: bool) -> Iterator[Finding]:
    """What the registry needs: all of it is there; one folder, or with `deep` all of them, have their digests."""
    try:
        stock = Stock(ArtifactStore(place.artifacts_url, place.cache))
        there = {held.digest for held in stock.holdings() if held.whole}
    except (DabtError, OSError):
        return  # `store` has said so
    missing = {digest: who for digest, who in needs.required.items() if digest not in there}
    for digest, who in list(missing.items())[:_TOLD]:
        yield fault("artifacts", f"{digest} is not in the store, and {who} needs it", _again(who))
    if len(missing) > _TOLD:
        yield fault(
            "artifacts",
            f"{len(missing) - _TOLD} more are not in the store",
            "`dabt restore FROM --artifacts` puts them back",
        )
    present = sorted(digest for digest in needs.required if digest in there)
    read = present if deep else present[:1]
    damaged = 0
    for digest in read:
        if (finding := _of_bytes(stock, digest, needs.required[digest])) is not None:
            damaged += 1
            yield finding
    if not missing and not damaged:
        said = f"{len(read)} read again, with {'their digests' if len(read) != 1 else 'its digest'}"
        yield ok("artifacts", f"{len(present)} needed and there; {said}")


def _of_bytes(stock: Stock, digest: Digest, who: str) -> Finding | None:
    try:
        stock.verify(digest)
    except (Corrupt, NotFound) as error:
        return fault("artifacts", f"{digest}, which {who} needs, is damaged: {error}", _again(who))
    except (DabtError, OSError) as error:
        return fault("artifacts", f"{digest}, which {who} needs, cannot be read: {error}", "see `store`")
    return None


def _again(who: str) -> str:
    if who.startswith("file-"):
        made = "its owner sends it again"
    elif who.startswith("the index"):
        made = "`dabt index` builds it again"
    else:
        made = "train or `dabt import` it again"
    return f"`dabt restore FROM --artifacts` puts it back from a backup, or {made}"
