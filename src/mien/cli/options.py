"""Options that several commands have in common."""

from typing import Annotated

import typer

ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="URI|FILE", help="models:/NAME@ALIAS, models:/NAME/3, x.onnx, or build/train."),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME", help="Use the champion of this data set, not params.yaml's."),
]
DetectorOption = Annotated[
    str | None, typer.Option("--detector", metavar="NAME", help="haar or yunet; see `mien detector`.")
]
MinFaceOption = Annotated[int | None, typer.Option("--min-face", metavar="PIXELS", help="The smallest face's side.")]
MinScoreOption = Annotated[
    float | None, typer.Option("--min-score", metavar="0-1", help="The least score of a face (yunet).")
]
