"""The table of published weights: complete, consistent with what the constructors load, and of ids
that they take."""

import collections

import pytest
from safetensors.numpy import save_file
from test_backbone_weights import build, same, state

import keras_detblocks as kdb
from keras_detblocks.backbones import catalog, cspnet, regnet
from keras_detblocks.backbones.catalog import variant_of
from keras_detblocks.weights import hub

CHECKPOINTS = [(row, each) for row in kdb.model_table() for each in row["checkpoints"]]


def test_every_tag_is_there_as_often_as_published():
    """Nets per tag, counted in timm's model files; `ra_in1k` is of RegNets and CSPNets, `seer`
    lacks the largest."""
    tags = collections.Counter(each.id.partition(".")[2] for _, each in CHECKPOINTS)
    assert tags == {
        "pycls_in1k": 24,
        "tv2_in1k": 14,
        "ra_in1k": 4,
        "ra3_in1k": 3,
        "deit_in1k": 1,
        "sw_in12k": 2,
        "sw_in12k_ft_in1k": 2,
        "lion_in12k_ft_in1k": 1,
        "swag_ft_in1k": 3,
        "swag_lc_in1k": 3,
        "seer": 3,
        "seer_ft_in1k": 4,
        "c2ns_in1k": 4,
    }


def test_nothing_in_the_tables_is_unreachable():
    assert set(catalog._REGNETS.values()) == set(regnet.VARIANTS)
    assert {variant_of(name) for name in catalog._OTHERS} >= set(cspnet.CSP_VARIANTS)
    known = set(map(variant_of, catalog.names()))
    assert all(set(nets) <= known for *_, nets in catalog._TAGS)


@pytest.mark.parametrize("row, weights", CHECKPOINTS, ids=[each.id for _, each in CHECKPOINTS])
def test_facts_of_a_checkpoint(row, weights):
    assert hub.is_hub_id(weights.id) and weights.id.startswith(f"timm/{variant_of(row['name'])}.")
    assert weights.license and (len(weights.top1) > 0) == (weights.classes == 1000)
    sides = [side for side, _ in weights.top1]
    assert sides == sorted(sides) and all(65 < percent < 89 for _, percent in weights.top1)


def test_checkpoints_of_a_row_are_distinct_and_each_has_a_number_per_side():
    assert len({each.id for _, each in CHECKPOINTS}) == len(CHECKPOINTS)
    for tag, _, _, sides, nets in catalog._TAGS:
        assert {len(percents) for percents in nets.values()} == {len(sides)}, tag


@pytest.mark.parametrize("name", catalog.names())
def test_the_recommended_checkpoint_is_what_imagenet_loads(name, monkeypatch):
    """Nothing is downloaded: the hub is asked for the id, which is seen, and answers with an
    error."""

    def asked(hub_id):
        raise OSError(f"asked for {hub_id}.")

    monkeypatch.setattr(hub, "download", asked)
    row = catalog.row(name)
    if row["weights"]:
        error, words = OSError, f"asked for {row['weights']}[.]$"
        assert (
            row["weights"] in [each.id for each in row["checkpoints"]]
            and row["top1"] > 65
            and row["license"]
        )
    else:
        error, words = ValueError, "No ImageNet weights are published"
    with pytest.raises(error, match=words):
        catalog.constructor(name)(weights="imagenet")
    if "(" not in name:
        assert (name in kdb.list_models(pretrained=True)) == bool(row["weights"])


@pytest.mark.parametrize(
    "hub_id",
    ["timm/regnety_160.swag_ft_in1k", "timm/regnety_640.seer_ft_in1k", "timm/cspdarknet53.ra_in1k"],
)
def test_a_constructor_asks_for_the_id_that_it_is_given(hub_id, monkeypatch):
    def asked(hub_id):
        raise OSError(f"asked for {hub_id}.")

    monkeypatch.setattr(hub, "download", asked)
    with pytest.raises(OSError, match=f"asked for {hub_id}[.]$"):
        kdb.RegNetY002(weights=hub_id)


@pytest.fixture
def hub_of(tmp_path, monkeypatch):
    """A function that makes the hub give these tensors for any id."""

    def of(tensors):
        save_file(tensors, tmp_path / "model.safetensors")
        config = hub.settings({"pretrained_cfg": {"tag": "any"}})
        monkeypatch.setattr(
            hub, "download", lambda hub_id: (tmp_path / "model.safetensors", config)
        )
        return "timm/net.tag"

    return of


def test_weights_without_a_classifier_are_for_nets_without_a_top(hub_of):
    """As `seer`: timm's keys, none of the head."""
    hub_id = hub_of({key: value for key, value in state().items() if not key.startswith("head.")})
    expected = build(weights=state(), include_top=False)
    same(build(weights=hub_id, include_top=False), expected)
    with pytest.raises(ValueError, match="missing: head.fc.bias, head.fc.weight"):
        build(weights=hub_id)


def test_weights_of_other_classes_leave_the_classifier(hub_of):
    """As `sw_in12k`, whose 11821 classes are not ImageNet's 1000."""
    hub_id = hub_of(state(model=build(classes=11)))
    with pytest.warns(UserWarning, match="11 classes and the model 5"):
        build(weights=hub_id)
    build(weights=hub_id, classes=11)


def test_one_checkpoint_as_published():
    assert catalog.published("regnety_032")[2] == (
        "timm/regnety_032.ra_in1k",
        ((224, 81.95), (288, 82.72)),
        "Apache-2.0",
        1000,
    )


@pytest.mark.parametrize(
    "name, found",
    [
        ("regnetY008", "RegNetY008"),
        ("regnety(64GF)", 'RegNetY("64gf")'),
        ("regnety_640", 'RegNetY("64gf")'),
        ("cs3darknet_l", "CS3DarknetL"),
    ],
)
def test_find(name, found):
    assert catalog.find(name) == found


def test_calls_build_the_net_of_their_row():
    shape = dict(include_top=False, input_shape=(32, 32, 3), levels=(2,))
    for name in (
        'RegNetX("400mf_tv")',
        'RegNetY("800mf_tv")',
        'RegNetY("8.0gf_tv")',
        'RegNetY("64gf")',
    ):
        model = catalog.constructor(name)(**shape)
        assert (
            model.name == variant_of(name)
            and model.output["P2"].shape[-1] == catalog.row(name)["channels"][0]
        )
