"""Schema 9: campaigns in which people rate answers, and their votes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint

from lifecycle.registry.tables import Utc

revision = "0009"
down_revision = "0008"

_metadata = MetaData()
_campaigns = Table(
    "rating_campaigns",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("evaluation", String(71), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("closed_at", Utc),
)
_items = Table(
    "rating_items",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("campaign", ForeignKey("rating_campaigns.number"), nullable=False),
    Column("key", String(128), nullable=False),
    Column("body", JSON, nullable=False),
    UniqueConstraint("campaign", "key", name="one_item_a_campaign"),
)
_pairs = Table(
    "rating_pairs",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("campaign", ForeignKey("rating_campaigns.number"), nullable=False),
    Column("item", ForeignKey("rating_items.number"), nullable=False),
    Column("first", String(128), nullable=False),
    Column("second", String(128), nullable=False),
    Column("place", Integer, nullable=False),
    Column("settled", String(16)),
    UniqueConstraint("item", "first", "second", name="one_pair_an_item"),
    Index("pairs_of_a_campaign", "campaign", "place"),
)
_ballots = Table(
    "rating_ballots",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("campaign", ForeignKey("rating_campaigns.number"), nullable=False),
    Column("pair", ForeignKey("rating_pairs.number"), nullable=False),
    Column("rater", String(64), nullable=False),
    Column("swapped", Boolean, nullable=False),
    Column("given_at", Utc, nullable=False),
    Column("choice", String(16)),
    Column("voted_at", Utc),
    UniqueConstraint("pair", "rater", name="one_ballot_a_rater"),
    Index("ballots_of_a_rater", "campaign", "rater"),
)


def upgrade() -> None:
    _metadata.create_all(op.get_bind())
