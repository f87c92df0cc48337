"""The predictor that a command's options ask for."""

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import typer

from mien.base.errors import UserError
from mien.cli.output import say
from mien.cli.workspace import find_root, registered_model

if TYPE_CHECKING:
    from mien.inference.classifier import LoadedModel
    from mien.inference.detectors import PredictConfig
    from mien.inference.predictor import Predictor

UNUSABLE: Final = 2  # exit code: no model, no detector, or a wrong command line


def predictor_for(model: str | None, data: str | None, options: dict[str, Any]) -> "Predictor":
    """The predictor of a model and of `conf/predict.yaml`, over which the options that are not None win.

    Without one the command ends with a sentence and exit code 2.
    """
    try:
        settings = settings_with(options)
        from mien.inference.detectors import build_detector

        detector = build_detector(settings)
        loaded = _load(model, data)
    except UserError as error:
        say(f"mien: {error}")
        raise typer.Exit(UNUSABLE) from error
    _warn(loaded)
    from mien.inference.predictor import Predictor

    return Predictor(loaded, detector, settings)


def settings_with(options: dict[str, Any]) -> "PredictConfig":
    """The settings of `conf/predict.yaml` with the options that were given.

    Raises:
        UserError: a setting or an option says what cannot be.
    """
    from mien.base.settings import settings_of_use

    settings: PredictConfig = settings_of_use(find_root(), "predict")
    given = {key: value for key, value in options.items() if value is not None}
    if given.get("detector", settings.detector) != settings.detector:
        given["detector_file"] = ""  # that of the other
    try:
        return dataclasses.replace(settings, **given)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}.") from error


def _load(model: str | None, data: str | None) -> "LoadedModel":
    from mien.inference.classifier import load_model_of

    if model and ":/" not in model:
        return load_model_of(model)
    from mien.inference.address import NoSuchModel
    from mien.inference.current import load_registered_ahead
    from mien.tracking.store import use_store

    root = find_root()
    try:
        use_store(root)
        return load_registered_ahead(model or f"models:/{registered_model(root, data)}@champion")
    except NoSuchModel as error:
        raise UserError(
            f"{error} `make repro` trains and promotes one; --model FOLDER takes one from files."
        ) from error


def _warn(model: "LoadedModel") -> None:
    """What a person must know before believing an answer."""
    if model.drawn:
        say(
            f"mien: WARNING: this model learnt from drawings ({model.title or 'drawn sample'}); "
            "on a photograph its answers mean nothing."
        )
    if model.temperature is None:
        say("mien: this model has no temperature (`dvc repro evaluate` fits it): its probabilities are not calibrated.")
