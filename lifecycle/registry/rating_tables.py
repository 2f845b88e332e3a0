"""The registry's tables of ratings by people. Only `rating_book.py` touches them; `tables.py` has the others.

What is updated in place: a campaign's end, and a ballot when it is voted on, taken back or handed out again.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from lifecycle.registry.tables import Utc, metadata

campaigns = Table(
    "rating_campaigns",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("evaluation", String(71), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("closed_at", Utc),
)

items = Table(
    "rating_items",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("campaign", ForeignKey("rating_campaigns.number"), nullable=False),
    Column("key", String(128), nullable=False),
    Column("body", JSON, nullable=False),
    UniqueConstraint("campaign", "key", name="one_item_a_campaign"),
)

# `settled` is what is known without asking; such a pair is in no queue.
pairs = Table(
    "rating_pairs",
    metadata,
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

ballots = Table(
    "rating_ballots",
    metadata,
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
