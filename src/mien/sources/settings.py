"""What `conf/data/*.yaml` may say."""

from dataclasses import dataclass


@dataclass
class DataConfig:
    """One raw data set: its name, who reads it, where it lies, and what it is to be called by people."""

    name: str  # names the registered model: mien-NAME
    source: str  # a key of mien.sources.catalogue.SOURCES
    path: str  # folder, from the repository root
    title: str = ""
    drawn: bool = False  # not photographs: a model that learnt from it says so when it meets one
