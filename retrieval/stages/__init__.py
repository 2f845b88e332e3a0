"""The stages of a retriever: `stage.py` says what one is, `table.py` which there are; `../pipeline.py` runs them."""
