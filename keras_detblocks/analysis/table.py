"""Tables of the backbones, and of the parts that go on top of them."""

from ..backbones import catalog
from ..checks import check_kind
from ..detection.build import PARTS
from ..detection.recipes import RECIPES

__all__ = ["model_table", "print_model_table", "print_part_table"]


def model_table(filter=""):
    """Returns one row per backbone that `keras_detblocks.list_models()` names, and per published
    net that only a call builds.

    Args:
        filter: only names that contain it, in any case.

    Returns:
        A list of dicts: name (a constructor, or a call such as `RegNetY("64gf")`), params, macs and
        activations (at 224x224, 1000 classes), strides and channels of P2 to P5; weights (id of the
        checkpoint that `weights="imagenet"` loads, or None), its top1 (accuracy in percent) and
        license; checkpoints: every one that is published, as `(id, top1, license, classes)`, where
        top1 holds pairs (side of the image, percent).

    >>> [each.id for each in model_table("RegNetY032")[0]["checkpoints"]]
    ['timm/regnety_032.pycls_in1k', 'timm/regnety_032.tv2_in1k', 'timm/regnety_032.ra_in1k']
    """
    wanted = _lower(filter)
    return [catalog.row(name) for name in catalog.names() if wanted in name.lower()]


def _lower(filter):
    return check_kind(filter, "filter", str, "a part of a name").lower()


def print_model_table(filter=""):
    """Prints `model_table`: a line per net, and below it one per checkpoint.

    Args:
        filter: only names that contain it, in any case.
    """
    rows = model_table(filter)
    if not rows:
        print(f"No model has {filter!r} in its name.")
        return
    print(
        f"{'model':20}{'params':>9}{'MACs':>10}{'activations':>13}   channels of P2 to P5 "
        f"(strides 4 to 32)"
    )
    print(f"    {'weights':38}{'top-1 % at image side':30}license")
    for row in rows:
        size = (
            f"{row['params'] / 1e6:8.2f}M{row['macs'] / 1e9:9.2f}G{row['activations'] / 1e6:12.2f}M"
        )
        print(f"{row['name']:20}{size}   {', '.join(map(str, row['channels']))}")
        for weights in row["checkpoints"]:
            mark = "*" if weights.id == row["weights"] else " "
            print(f"  {mark} {weights.id:38}{_top1(weights):30}{weights.license}")
        if not row["checkpoints"]:
            print("    none known")
    print(
        '* what weights="imagenet" loads. MACs and activations are those at 224x224, with 1000 '
        "classes."
    )


def _top1(weights):
    if weights.top1:
        return ", ".join(f"{percent:.2f} at {side}" for side, percent in weights.top1)
    return f"{weights.classes} other classes" if weights.classes else "no classifier"


def print_part_table(filter=""):
    """Prints, by kind, the names that `build_detector` takes beside those of `model_table`, with a
    sentence about each, and the recipes with their parts.

    Args:
        filter: only names that contain it, in any case.
    """
    wanted = _lower(filter)
    recipes = {name: _recipe_row(recipe) for name, recipe in RECIPES.items()}
    for kind, parts in {**PARTS, "recipes": recipes}.items():
        rows = {name: about for name, about in parts.items() if wanted in name}
        if rows:
            print(f"\n{kind}")
        for name, about in rows.items():
            print(f"    {name:20}{about}")


def _recipe_row(recipe):
    parts = recipe.parts
    named = [name for name in (parts.backbone, parts.context, parts.neck) if name is not None]
    levels = f"P{parts.levels[0]} to P{parts.levels[-1]}"
    return f"{recipe.paper}: {' + '.join(named)}, {levels}, {parts.filters} filters"
